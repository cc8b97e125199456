"""Krippendorff's alpha: agreement of any number of judges, beyond chance, where some verdicts are missing.

The package of the same name computes it too and is what the tests compare with. It is not a dependency: its licence
(GPL-3) would bind whoever distributes an Apache-2.0 package with it.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Literal

import numpy as np

from prefboost.errors import DataError
from prefboost.statistics.columns import FloatColumn

__all__ = ["MeasurementLevel", "krippendorff_alpha"]

MeasurementLevel = Literal["nominal", "ordinal", "interval"]
"""Kinds of values: names, ranks, or numbers whose distances count."""


def krippendorff_alpha(ratings: Sequence[Sequence[Hashable | None]], *, level: MeasurementLevel = "nominal") -> float:
    """Compute 1 - observed / expected disagreement (Krippendorff, Content Analysis, 2004, section 11.3).

    Args:
        ratings: [J][N], one value per judge and item, items in one order; None is missing. Values are strings or other
            hashable objects for nominal data, numbers otherwise.
        level: how the distance of two values is measured.

    Returns:
        at most 1; 0 is what chance gives; NaN where no item has two values, or all values are the same.

    Raises:
        DataError: judges have values of different numbers of items, or none.
    """
    items = {len(row) for row in ratings}
    if len(items) != 1 or items == {0}:
        raise DataError(
            f"judges have {sorted(items) or 'no'} values",
            remedy="give every judge a value per item, None where missing",
        )
    values = list(dict.fromkeys(value for row in ratings for value in row if value is not None))
    values = values if level == "nominal" else sorted(values)  # type: ignore[type-var]
    number = {value: at for at, value in enumerate(values)}
    counts = np.zeros((items.pop(), len(values)))
    for row in ratings:
        for item, value in enumerate(row):
            if value is not None:
                counts[item, number[value]] += 1
    # Items with one value say nothing of agreement. In the others each of m values is paired with m - 1, and every pair
    # counts 1 / (m - 1), so that an item counts as often as it has values.
    counts = counts[counts.sum(1) > 1]
    shares = counts / np.maximum(counts.sum(1, keepdims=True) - 1, 1)
    coincidences = shares.T @ counts - np.diag(shares.sum(0))
    totals = coincidences.sum(0)
    if level == "nominal":
        distances: FloatColumn = 1 - np.eye(len(values))
    else:
        # The distance of ranks is how many values lie between two, both ends counted half; of numbers their difference.
        middle = np.cumsum(totals) - totals / 2
        places = middle if level == "ordinal" else np.array(values, dtype=np.float64)
        distances = (places[:, None] - places) ** 2
    expected = float((np.outer(totals, totals) * distances).sum())
    # No pairs, or one value only: 0 / 0.
    if expected <= 0:
        return float("nan")
    return 1 - (float(totals.sum()) - 1) * float((coincidences * distances).sum()) / expected
