"""Rows that belong together, by number instead of by name."""

from __future__ import annotations

import polars as pl

__all__ = ["group_numbers"]


def group_numbers(labels: pl.Series) -> pl.Series:
    """A number for every row, equal exactly where the labels are; rising where equal labels stand together.

    Groups by number are found several times faster than groups by text.
    """
    runs = labels.rle_id()
    together = labels.is_empty() or runs[-1] + 1 == labels.n_unique()
    return runs if together else labels.rank("dense")
