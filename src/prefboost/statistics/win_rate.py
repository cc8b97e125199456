"""The win rate of AlpacaEval: raw and discrete, with upstream's standard error and the one that clusters by prompt."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from prefboost.statistics.bootstrap import USUAL, Bootstrap, bootstrap_mean
from prefboost.statistics.cluster_error import cluster_standard_error
from prefboost.statistics.columns import check_columns, check_range
from prefboost.statistics.interval import Interval

__all__ = ["WinRate", "compute_share_bounds", "measure_win_rate"]


@dataclass(frozen=True)
class WinRate:
    """Shares in 0..1.

    Args:
        share: mean share of the win, with an interval that draws prompts whole.
        discrete: wins and half the ties, every share rounded to a win, a tie (exactly one half) or a loss.
        error: standard error clustered by prompt; equal to ``upstream_error`` with one row per prompt.
        upstream_error: s / sqrt(N), as if rows were independent.
    """

    share: Interval
    discrete: float
    error: float
    upstream_error: float


def measure_win_rate(shares: ArrayLike, *, prompts: ArrayLike | None = None, how: Bootstrap = USUAL) -> WinRate:
    """Measure the win rate of a model.

    Args:
        shares: N shares of the win, 0..1.
        prompts: N labels; None: every row is a prompt.
        how: resamples, level, seed.

    Raises:
        DataError: there are no rows, a share is NaN or outside of 0..1.
    """
    (column,) = check_columns(shares=shares)
    # Upstream writes preferences as 1..2; taken for shares they would give rates above 100 %.
    check_range(column, 0, 1, noun="shares of a win", remedy="subtract 1 from preferences")
    return WinRate(
        bootstrap_mean(column, clusters=prompts, how=how),
        # A win counts 1, a tie (exactly one half) 1/2, a loss 0.
        float(((np.sign(column - 0.5) + 1) / 2).mean()),
        cluster_standard_error(column, prompts),
        cluster_standard_error(column),
    )


def compute_share_bounds(shares: ArrayLike, missing: int) -> tuple[float, float]:
    """Bound the mean share: if every missing row was lost, and if every missing row was won.

    Args:
        shares: of the rows that have a verdict, 0..1; may be empty.
        missing: rows that have none.
    """
    column = np.asarray(shares, dtype=np.float64)
    rows = column.size + missing
    return (0.0, 1.0) if not rows else (float(column.sum() / rows), float((column.sum() + missing) / rows))
