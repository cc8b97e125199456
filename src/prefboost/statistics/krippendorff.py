"""Krippendorff's alpha: agreement of any number of judges, beyond chance, where some verdicts are missing."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Literal

import numpy as np

from prefboost.errors import DataError
from prefboost.statistics.columns import FloatColumn

__all__ = ["Level", "krippendorff_alpha"]

Level = Literal["nominal", "ordinal", "interval"]
"""What values are: names, ranks, or numbers whose distances count."""


def krippendorff_alpha(ratings: Sequence[Sequence[Hashable | None]], *, level: Level = "nominal") -> float:
    """1 - observed over expected disagreement (Krippendorff, Content Analysis, 2004, section 11.3).

    Args:
        ratings: J judges, each with N values, one an item in one order; None is missing. Values are strings or
            anything else that has equals for nominal data, numbers otherwise.
        level: how far two values are apart.

    Returns:
        at most 1; 0 is what chance gives; NaN where no item has two values, or all values are one and the same.

    Raises:
        DataError: judges have values of different numbers of items, or none.
    """
    items = {len(row) for row in ratings}
    if len(items) != 1 or items == {0}:
        raise DataError(
            f"judges have {sorted(items) or 'no'} values", remedy="give every judge a value an item, None where missing"
        )
    known = list(dict.fromkeys(value for row in ratings for value in row if value is not None))
    known = known if level == "nominal" else sorted(known)  # type: ignore[type-var]
    place = {value: at for at, value in enumerate(known)}
    counts = np.zeros((items.pop(), len(known)))
    for row in ratings:
        for item, value in enumerate(row):
            if value is not None:
                counts[item, place[value]] += 1
    counts = counts[counts.sum(1) > 1]
    many = counts.sum(1, keepdims=True)
    crossed = (counts / np.maximum(many - 1, 1)).T @ counts - np.diag((counts / np.maximum(many - 1, 1)).sum(0))
    totals = crossed.sum(0)
    apart = _DISTANCES[level](known, totals)
    expected = float((np.outer(totals, totals) * apart).sum())
    if expected <= 0:
        return float("nan")
    return 1 - (float(totals.sum()) - 1) * float((crossed * apart).sum()) / expected


def _nominal(known: Sequence[Hashable], totals: FloatColumn) -> FloatColumn:
    return 1 - np.eye(len(known))


def _interval(known: Sequence[Hashable], totals: FloatColumn) -> FloatColumn:
    values = np.array(known, dtype=np.float64)
    apart: FloatColumn = (values[:, None] - values) ** 2
    return apart


def _ordinal(known: Sequence[Hashable], totals: FloatColumn) -> FloatColumn:
    """(sum of what lies between, both ends counted half)^2."""
    middle = np.cumsum(totals) - totals / 2
    apart: FloatColumn = (middle[:, None] - middle) ** 2
    return apart


_DISTANCES: dict[Level, Callable[[Sequence[Hashable], FloatColumn], FloatColumn]] = {
    "nominal": _nominal,
    "ordinal": _ordinal,
    "interval": _interval,
}
