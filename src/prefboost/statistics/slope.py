"""The slope of achieved scores on requested ones: 1 is a policy that follows the goal, 0 one that ignores it."""

from __future__ import annotations

from numpy.typing import ArrayLike

from prefboost.statistics.bootstrap import USUAL, Bootstrap, bootstrap
from prefboost.statistics.columns import FloatColumn, check_columns
from prefboost.statistics.interval import Interval

__all__ = ["fit_slope", "bootstrap_slope", "bootstrap_slope_difference"]


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


def bootstrap_slope_difference(
    requested: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    *,
    clusters: ArrayLike | None = None,
    how: Bootstrap = USUAL,
) -> Interval:
    """Estimate slope(first) - slope(second) with its interval, row against row; clusters (prompts) are drawn whole.

    It tells whether one policy follows the goal more than the other. One slope's interval against the other's estimate
    does not: it leaves out the other's error, and what both share because they answer the same prompts.

    Args:
        requested: N finite numbers, the goals, which are the same for both policies.
        first: N finite numbers, the scores that one policy reached.
        second: N finite numbers of the other policy, of the same prompts and goals in the same order.
        clusters: N labels (prompts); rows of one label are drawn together. None: every row is a cluster.
        how: resamples, level, seed.

    Raises:
        DataError: the columns differ in length, are empty, or hold NaN or an infinity.
    """
    goals, minuend, subtrahend = check_columns(requested=requested, first=first, second=second)
    # Slopes are linear in the scores: in every resample the difference of slopes is the slope of the differences.
    return bootstrap(_fit_slope, goals, minuend - subtrahend, clusters=clusters, how=how)


def _fit_slope(requested: FloatColumn, achieved: FloatColumn) -> float:
    # Columns are checked once, not in each of thousands of resamples.
    centred = requested - requested.mean()
    spread = float(centred @ centred)
    return float(centred @ (achieved - achieved.mean())) / spread if spread > 0 else float("nan")
