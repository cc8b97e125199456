"""The slope of achieved scores on requested ones: 1 is a policy that follows the goal, 0 one that ignores it."""

from __future__ import annotations

from numpy.typing import ArrayLike

from prefboost.statistics.bootstrap import USUAL, Bootstrap, bootstrap
from prefboost.statistics.columns import FloatColumn, check_columns
from prefboost.statistics.interval import Interval

__all__ = ["fit_slope", "bootstrap_slope"]


def fit_slope(requested: ArrayLike, achieved: ArrayLike) -> float:
    """Fit the least-squares slope, in achieved points per requested point; NaN where the goal is constant.

    Args:
        requested: N finite numbers, the goals.
        achieved: N finite numbers, the scores reached.
    """
    return _fit_slope(*check_columns(requested=requested, achieved=achieved))


def bootstrap_slope(
    requested: ArrayLike,
    achieved: ArrayLike,
    *,
    clusters: ArrayLike | None = None,
    how: Bootstrap = USUAL,
) -> Interval:
    """Estimate the slope with its bootstrap interval; clusters (prompts) are drawn whole.

    Raises:
        DataError: the columns differ in length, are empty, or hold NaN or an infinity.
    """
    return bootstrap(_fit_slope, requested, achieved, clusters=clusters, how=how)


def _fit_slope(requested: FloatColumn, achieved: FloatColumn) -> float:
    # Columns are checked once, not in each of thousands of resamples.
    centred = requested - requested.mean()
    spread = float(centred @ centred)
    return float(centred @ (achieved - achieved.mean())) / spread if spread > 0 else float("nan")
