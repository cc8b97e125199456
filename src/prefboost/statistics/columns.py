"""Columns of numbers, checked before anything is computed from them: a missing number never passes as a measurement."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from prefboost.errors import DataError, Place

__all__ = ["FloatColumn", "check_columns", "number_labels"]

FloatColumn = NDArray[np.float64]


def check_columns(**columns: ArrayLike) -> list[FloatColumn]:
    """The columns as one-dimensional float arrays of one length, at least one row, all finite.

    Raises:
        DataError: a column is empty, has another length than the first, or holds NaN or an infinity.
    """
    made = {name: np.asarray(values, dtype=np.float64) for name, values in columns.items()}
    rows = next(iter(made.values())).shape
    for name, column in made.items():
        if column.ndim != 1 or column.shape != rows or not column.size:
            raise DataError(
                f"column {name} has shape {column.shape}, the first has {rows}",
                remedy="give one-dimensional columns of one length, with at least one row",
            )
        wrong = np.flatnonzero(~np.isfinite(column))
        if wrong.size:
            raise DataError(
                f"{column[wrong[0]]} is not a number to compute with ({wrong.size} of {column.size} rows)",
                remedy="drop such rows, and report how many they are",
                place=Place(row=int(wrong[0]), column=name),
            )
    return list(made.values())


def number_labels(labels: ArrayLike | None, rows: int) -> tuple[NDArray[np.intp], int]:
    """Labels (strings, numbers) of the rows as numbers 0..K-1 in order of the sorted labels, and K. None: each its own.

    Raises:
        DataError: there is not one label a row.
    """
    if labels is None:
        return np.arange(rows), rows
    names = np.asarray(labels)
    if names.shape != (rows,):
        raise DataError(f"labels have shape {names.shape} for {rows} rows", remedy="give one label a row")
    unique, numbers = np.unique(names, return_inverse=True)
    return numbers.reshape(-1), len(unique)
