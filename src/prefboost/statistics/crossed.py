"""Intervals that contain the seed: seeds of training and prompts are drawn independently, as every seed answers all.

A bootstrap over prompts alone says how much another set of prompts would change the figure, and nothing of another
training. Both factors are resampled (the pigeonhole bootstrap: Owen 2007, arXiv 0712.1111), whose variance is never too
small.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from prefboost.errors import DataError
from prefboost.statistics.bootstrap import USUAL, Bootstrap, expand_percentiles
from prefboost.statistics.interval import Interval

__all__ = ["bootstrap_crossed"]


def bootstrap_crossed(values: ArrayLike, how: Bootstrap = USUAL) -> Interval:
    """Estimate the mean of values by seed and prompt.

    Args:
        values: [S, P], finite: row s holds what the training of seed s reached on prompts 1..P.
        how: resamples, level, seed of the draws.

    Returns:
        the mean over all; its ends are unknown (NaN) where there is one seed only. ``clusters`` counts seeds.

    Raises:
        DataError: the array has not two dimensions, is empty, or holds NaN or an infinity.
    """
    table = np.asarray(values, dtype=float)
    if table.ndim != 2 or not table.size or not np.isfinite(table).all():
        raise DataError(
            f"finite numbers by seed and prompt are needed, found an array of shape {table.shape}",
            remedy="give every seed the same prompts, and leave out those that one of them lacks",
        )
    seeds, prompts = table.shape
    rng = np.random.default_rng(how.seed)
    replicates = []
    for _ in range(how.resamples if seeds > 1 else 0):
        # Of a resample only the means over its prompts matter, one per seed.
        drawn = rng.integers(prompts, size=prompts)
        replicates.append(table[:, drawn].mean(1)[rng.integers(seeds, size=seeds)].mean())
    # Few seeds, not many prompts, make percentiles too narrow, so that their number decides the expansion.
    low, high = expand_percentiles(np.array(replicates), seeds, how.level)
    return Interval(float(table.mean()), low, high, how.level, rows=table.size, clusters=seeds)
