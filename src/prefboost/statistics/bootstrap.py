"""Bootstrap intervals: percentile, over rows or over whole clusters (all completions of a prompt come or go together).

Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13; clusters: Cameron, Gelbach and Miller (2008),
Bootstrap-based improvements for inference with clustered errors. Percentiles are expanded for few clusters, where plain
ones are too narrow by a factor of sqrt((K - 1) / K) z / t: Hesterberg (2015), What Teachers Should Know About the
Bootstrap, section 5.2. Deterministic for a seed.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field

from prefboost.errors import DataError
from prefboost.settings import Settings
from prefboost.statistics.columns import FloatColumn, check_columns, number_labels
from prefboost.statistics.interval import Interval

__all__ = [
    "USUAL",
    "Bootstrap",
    "bootstrap",
    "bootstrap_crossed",
    "bootstrap_mean",
    "bootstrap_mean_by",
    "build_interval",
    "expand_percentiles",
    "student_quantile",
]

# Draws that are in memory at a time: 32 MB of int64. All at once, 2000 resamples of a million rows would be 16 GB.
_BLOCK = 4_000_000


class Bootstrap(Settings):
    """Settings of the bootstrap (Efron and Tibshirani 1993, chapter 13)."""

    resamples: int = Field(2000, ge=100, description="Resamples drawn; 1000 to 2000 (Efron and Tibshirani 1993, 13.3).")
    level: float = Field(0.95, gt=0, lt=1, description="Share of intervals that should hold the true value.")
    seed: int = Field(0, ge=0, description="Seed of the draws: the same data and seed give the same interval.")


USUAL = Bootstrap()
"""2000 resamples, 95 %, seed 0."""


def bootstrap(
    statistic: Callable[..., float],
    *columns: ArrayLike,
    clusters: ArrayLike | None = None,
    how: Bootstrap = USUAL,
) -> Interval:
    """Estimate any statistic of columns with its interval.

    Args:
        statistic: takes the columns, one-dimensional float arrays, and returns a number.
        columns: at least one column of N finite numbers.
        clusters: N labels; rows of one label are drawn together. None: every row is a cluster.
        how: resamples, level, seed.

    Raises:
        DataError: columns are empty, of different lengths, or hold NaN or an infinity.
    """
    checked = check_columns(**{f"{position}": column for position, column in enumerate(columns)})
    numbers, count = number_labels(clusters, len(checked[0]))
    # Rows of each cluster, in their order; a stable sort keeps the result independent of how labels are spelt.
    rows_of = np.split(np.argsort(numbers, kind="stable"), np.cumsum(np.bincount(numbers))[:-1])
    rng = np.random.default_rng(how.seed)
    # A resample has K clusters, and so in general another number of rows than the data.
    drawn = (np.concatenate([rows_of[at] for at in rng.integers(count, size=count)]) for _ in range(how.resamples))
    replicates = np.array([statistic(*(column[rows] for column in checked)) for rows in drawn] if count > 1 else [])
    return build_interval(statistic(*checked), replicates, len(checked[0]), count, how)


def bootstrap_mean(
    values: ArrayLike,
    *,
    clusters: ArrayLike | None = None,
    how: Bootstrap = USUAL,
) -> Interval:
    """Estimate a mean over rows with its interval; the same draws as ``bootstrap(np.mean, ...)``, many times faster.

    Args:
        values: N finite numbers.
        clusters: N labels; rows of one label are drawn together. None: every row is a cluster.
        how: resamples, level, seed.

    Raises:
        DataError: there are no values, or NaN or an infinity among them.
    """
    (column,) = check_columns(values=values)
    numbers, count = number_labels(clusters, len(column))
    # The mean of a resample needs no rows, only the sums and sizes of the clusters that are drawn.
    totals, sizes = np.bincount(numbers, weights=column), np.bincount(numbers)
    rng = np.random.default_rng(how.seed)
    block = max(1, _BLOCK // count)
    parts: list[FloatColumn] = []
    # A generator fills arrays row by row, so that draws in blocks are those of one resample after the other: the size
    # of a block changes memory and no result.
    for start in range(0, how.resamples if count > 1 else 0, block):
        drawn = rng.integers(count, size=(min(block, how.resamples - start), count))
        parts.append(totals[drawn].sum(1) / sizes[drawn].sum(1))
    return build_interval(float(column.mean()), np.concatenate(parts or [np.empty(0)]), len(column), count, how)


def bootstrap_mean_by(
    values: ArrayLike,
    groups: ArrayLike,
    *,
    clusters: ArrayLike | None = None,
    how: Bootstrap = USUAL,
) -> dict[float, Interval]:
    """Estimate the mean of every group with its interval, such as the achieved score per requested goal.

    Args:
        values: N finite numbers.
        groups: N finite numbers; rows of one number form a group.
        clusters: N labels, as in ``bootstrap_mean``.
        how: resamples, level, seed; every group starts from the same seed.

    Returns:
        group -> interval, in rising order of the groups.
    """
    column, group = check_columns(values=values, groups=groups)
    numbers, _ = number_labels(clusters, len(column))
    # Every group begins with the same seed, so that adding a group changes no interval of the others.
    rows_of = {float(name): group == name for name in np.unique(group)}
    return {name: bootstrap_mean(column[rows], clusters=numbers[rows], how=how) for name, rows in rows_of.items()}


def expand_percentiles(replicates: FloatColumn, clusters: int, level: float) -> tuple[float, float]:
    """Compute both ends of the expanded percentile interval: as wide as Student's, as skew as the replicates.

    Args:
        replicates: [B], the statistic in every resample; NaN where a resample says nothing.
        clusters: K that were drawn.
        level: share of intervals that should hold the true value.

    Returns:
        NaN, NaN where there are no replicates or fewer than two clusters.
    """
    defined = replicates[~np.isnan(replicates)]
    if not defined.size or clusters < 2:
        return float("nan"), float("nan")
    # Replicates of a mean spread as if K - 1 were K, and as a normal and not as Student's distribution. The tail is
    # that of a normal at the point where an interval of Student's would end (Hesterberg 2015, section 5.2).
    tail = NormalDist().cdf(-np.sqrt(clusters / (clusters - 1)) * student_quantile((1 + level) / 2, clusters - 1))
    low, high = np.quantile(defined, [tail, 1 - tail], method="weibull")  # a tail of B draws is (B + 1) times its share
    return float(low), float(high)


def student_quantile(share: float, freedom: int) -> float:
    """Compute a quantile of Student's distribution, to 1e-3 from five degrees of freedom on (Fisher and Cornish 1960).

    Args:
        share: 0..1.
        freedom: degrees, at least 1.

    >>> round(student_quantile(0.975, 9), 3)
    2.262
    """
    z = NormalDist().inv_cdf(share)
    # An expansion in 1 / freedom: the base install has no SciPy.
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return float(sum(term / freedom**power for power, term in enumerate(terms)))


def build_interval(estimate: float, replicates: FloatColumn, rows: int, clusters: int, how: Bootstrap) -> Interval:
    """Build the interval of an estimate from its value in every resample [B]; NaN where a resample says nothing."""
    low, high = expand_percentiles(replicates, clusters, how.level)
    return Interval(float(estimate), low, high, how.level, rows=rows, clusters=clusters)


def bootstrap_crossed(values: ArrayLike, how: Bootstrap = USUAL) -> Interval:
    """Estimate the mean of values by seed and prompt, which are drawn independently, as every seed answers all.

    A bootstrap over prompts alone says how much another set of prompts would change the figure, and nothing of another
    training. Both are resampled (the pigeonhole bootstrap: Owen 2007, arXiv 0712.1111), whose variance is never too
    small.

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
