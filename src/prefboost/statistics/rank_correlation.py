"""Spearman's rank correlation, over all rows and within groups (does a score rank the completions of one prompt?)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from prefboost.statistics.columns import FloatColumn, check_columns, number_labels

__all__ = ["WithinGroups", "rank_values", "spearman", "spearman_within"]


@dataclass(frozen=True)
class WithinGroups:
    """The mean rank correlation within groups.

    Args:
        mean: mean over the groups in which it is defined, -1..1; NaN where there is none.
        groups: how many groups that are.
        left_out: groups in which one column is constant (one row included), so that nothing is ranked.
    """

    mean: float
    groups: int
    left_out: int


def rank_values(values: ArrayLike) -> FloatColumn:
    """Ranks from 1 [N]; ties share the mean of their ranks (Kendall 1945, The treatment of ties)."""
    (column,) = check_columns(values=values)
    _, inverse, counts = np.unique(column, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    shared: FloatColumn = (last - (counts - 1) / 2)[inverse.reshape(-1)]
    return shared


def spearman(first: ArrayLike, second: ArrayLike) -> float:
    """Spearman's rho: Pearson's correlation of the ranks, -1..1; NaN where a column is constant.

    Args:
        first: N finite numbers.
        second: N finite numbers.
    """
    one, other = check_columns(first=first, second=second)
    a, b = rank_values(one), rank_values(other)
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(np.clip((a @ b) / scale, -1, 1)) if scale > 0 else float("nan")


def spearman_within(first: ArrayLike, second: ArrayLike, groups: ArrayLike) -> WithinGroups:
    """The mean over groups of Spearman's rho within a group; groups that rank nothing are counted and left out.

    Args:
        first: N finite numbers.
        second: N finite numbers.
        groups: N labels, such as prompt ids.
    """
    one, other = check_columns(first=first, second=second)
    numbers, count = number_labels(groups, len(one))
    rows_of = np.split(np.argsort(numbers, kind="stable"), np.cumsum(np.bincount(numbers))[:-1])
    found = np.array([spearman(one[rows], other[rows]) for rows in rows_of])
    defined = found[~np.isnan(found)]
    mean = float(defined.mean()) if defined.size else float("nan")
    return WithinGroups(mean, groups=len(defined), left_out=count - len(defined))
