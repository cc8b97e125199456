"""Columns of numbers, checked before use: a missing number never passes as a measurement."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from prefboost.errors import DataError, Place

__all__ = ["FloatColumn", "check_columns", "check_range", "number_labels"]

FloatColumn = NDArray[np.float64]


def check_columns(**columns: ArrayLike) -> list[FloatColumn]:
    """Convert columns to one-dimensional float arrays of one length, with at least one row, all finite.

    Raises:
        DataError: a column is empty, has another length than the first, or holds NaN or an infinity.
    """
    arrays = {name: np.asarray(values, dtype=np.float64) for name, values in columns.items()}
    shape = next(iter(arrays.values())).shape
    for name, column in arrays.items():
        # Shapes are compared, not lengths: NumPy would broadcast [N, 1] against [N] to N times N without a word.
        if column.ndim != 1 or column.shape != shape or not column.size:
            raise DataError(
                f"column {name} has shape {column.shape}, the first has {shape}",
                remedy="give one-dimensional columns of one length, with at least one row",
            )
        # One NaN would make a mean NaN, and a sort would put it last as if it were the best: such data are refused.
        wrong = np.flatnonzero(~np.isfinite(column))
        if wrong.size:
            raise DataError(
                f"{column[wrong[0]]} is not a number to compute with ({wrong.size} of {column.size} rows)",
                remedy="drop such rows, and report how many they are",
                place=Place(row=int(wrong[0]), column=name),
            )
    return list(arrays.values())


def check_range(column: FloatColumn, low: float, high: float, *, noun: str, remedy: str) -> None:
    """Refuse a column with a number outside of a range, ends included.

    Args:
        column: [N], checked (`check_columns`).
        low: lower end.
        high: upper end.
        noun: what the numbers are, in the plural.
        remedy: for the message.

    Raises:
        DataError: names the range and what was found.
    """
    if column.min() < low or column.max() > high:
        raise DataError(
            f"{noun} must be in {low:g}..{high:g}, found {column.min():g} to {column.max():g}", remedy=remedy
        )


def number_labels(labels: ArrayLike | None, rows: int) -> tuple[NDArray[np.intp], int]:
    """Number the labels of N rows.

    Args:
        labels: [N] strings or numbers; None: every row has a label of its own.
        rows: N.

    Returns:
        numbers 0..K-1 [N] in order of the sorted labels, and K.

    Raises:
        DataError: there is not one label per row.
    """
    if labels is None:
        return np.arange(rows), rows
    names = np.asarray(labels)
    if names.shape != (rows,):
        raise DataError(f"labels have shape {names.shape} for {rows} rows", remedy="give one label per row")
    # Sorted labels: which rows a seed draws then depends on the labels and not on the order of the rows.
    unique, numbers = np.unique(names, return_inverse=True)
    return numbers.reshape(-1), len(unique)
