"""Numbers that stand for a missing score: -1, -100, 999 and their like, which are no scores to be asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from prefboost.tables import reject_where

__all__ = ["MARK_REASON", "describe_marks", "find_marks", "is_mark", "reject_marks"]

_FAR = frozenset(
    [-9.0, *(-(10.0**power) for power in range(2, 10)), *(1 - 10.0**power for power in range(2, 10))]
    + [10.0**power - 1 for power in range(2, 10)]
)
"""Customary marks other than -1: -9, and -10^k, 1 - 10^k and 10^k - 1 for k from 2 to 9.

-10 and 100 are not among them: the one is a usual penalty, the other a full mark.
"""

_LEAST_TIMES = 2

MARK_REASON = "the score stands for a missing one: it repeats apart from all others (data.score_range keeps it)"
"""Reason of rows that `reject_marks` rejects."""


def find_marks(scores: NDArray[np.float64]) -> tuple[float, ...]:
    """Find numbers that most likely stand for a missing score.

    A mark repeats, is the lowest or highest number, and stands apart: -1 below scores that are never negative (other
    than a scale of -1, 0 and 1), or a customary number that is farther from the scores than these spread.

    Args:
        scores: finite, all of the data set.

    Returns:
        none, one or two numbers.
    """
    marks: list[float] = []
    for pick in (np.min, np.max):
        if not len(scores):
            break
        value = float(pick(scores))
        others = scores[scores != value]
        if len(scores) - len(others) < _LEAST_TIMES or not len(others):
            continue
        low, high = float(others.min()), float(others.max())
        apart = value in _FAR and max(low - value, value - high) > high - low
        if value == -1.0:
            # Scores of -1, 0 and 1 are a scale of their own, on which -1 means bad.
            apart = low >= 0 and (high > 1 or bool(np.any(others != np.round(others))))
        if apart and low < high:
            marks.append(value)
            scores = others
    return tuple(marks)


def describe_marks(scores: NDArray[np.float64], marks: Sequence[float]) -> str:
    """Say in one clause how many scores are marks; empty where there are none."""
    counts = [f"{int((scores == mark).sum()):,} times {mark:g}" for mark in marks]
    return f"{' and '.join(counts)} is taken for a missing score" if counts else ""


def is_mark(column: str, marks: Sequence[float]) -> pl.Expr:
    """Tell whether a score is one of the marks; never null."""
    return pl.col(column).is_in(list(marks)).fill_null(False)


def reject_marks(
    frame: pl.DataFrame, columns: Sequence[str], marks: Sequence[float], *, stage: str, path: str | None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Reject rows in which a score stands for a missing one.

    Args:
        frame: completions or pairs.
        columns: the overall scores.
        marks: from `find_marks`.
        stage: the verb.
        path: where the rows came from.

    Returns:
        the rows that stay, and the rejects.
    """
    return reject_where(
        frame,
        pl.any_horizontal(is_mark(name, marks) for name in columns),
        stage=stage,
        reason=MARK_REASON,
        path=path,
        value=pl.concat_str([pl.col(name) for name in columns], separator=" and ", ignore_nulls=True),
    )
