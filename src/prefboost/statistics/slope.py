"""The slope of achieved scores on asked-for scores: 1 is a policy that follows the goal, 0 one that does not listen."""

from __future__ import annotations

from numpy.typing import ArrayLike

from prefboost.statistics.bootstrap import USUAL, Bootstrap, bootstrap
from prefboost.statistics.columns import FloatColumn, check_columns
from prefboost.statistics.interval import Interval

__all__ = ["fit_slope", "bootstrap_slope"]


def fit_slope(asked: ArrayLike, achieved: ArrayLike) -> float:
    """Least-squares slope of achieved on asked, score a score; NaN where only one score is asked for.

    Args:
        asked: N finite numbers, the goals.
        achieved: N finite numbers, the scores reached.
    """
    return _slope(*check_columns(asked=asked, achieved=achieved))


def bootstrap_slope(
    asked: ArrayLike,
    achieved: ArrayLike,
    *,
    clusters: ArrayLike | None = None,
    how: Bootstrap = USUAL,
) -> Interval:
    """The slope with its bootstrap interval; clusters (prompts) are drawn whole.

    Raises:
        DataError: the columns differ in length, are empty, or hold NaN or an infinity.
    """
    return bootstrap(_slope, asked, achieved, clusters=clusters, how=how)


def _slope(asked: FloatColumn, achieved: FloatColumn) -> float:
    centred = asked - asked.mean()
    spread = float(centred @ centred)
    return float(centred @ (achieved - achieved.mean())) / spread if spread > 0 else float("nan")
