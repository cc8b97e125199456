"""Spearman's rank correlation, over all rows and within groups, such as the completions of one prompt."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from prefboost.statistics.columns import FloatColumn, check_columns, number_labels

__all__ = ["WithinGroups", "correlate", "rank_values", "spearman", "spearman_within"]


@dataclass(frozen=True)
class WithinGroups:
    """The mean rank correlation within groups.

    Args:
        mean: mean over the groups in which it is defined, -1..1; NaN where there is none.
        groups: how many groups those are.
        left_out: groups in which a column is constant (groups of one row included), so that nothing is ranked.
    """

    mean: float
    groups: int
    left_out: int


def rank_values(values: ArrayLike) -> FloatColumn:
    """Rank values from 1, [N]; ties share the mean of their ranks (Kendall 1945, The treatment of ties)."""
    (column,) = check_columns(values=values)
    _, inverse, counts = np.unique(column, return_inverse=True, return_counts=True)
    # The last rank of a group of c ties is ``last``, its first one last - c + 1: their mean is last - (c - 1) / 2.
    last = np.cumsum(counts)
    shared: FloatColumn = (last - (counts - 1) / 2)[inverse.reshape(-1)]
    return shared


def correlate(first: FloatColumn, second: FloatColumn) -> float:
    """Compute Pearson's correlation of two columns of finite numbers [N], -1..1; NaN where a column is constant."""
    a, b = first - first.mean(), second - second.mean()
    # Rounding can take the quotient beyond 1, hence the clip; a constant column has scale 0 and no correlation.
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(np.clip((a @ b) / scale, -1, 1)) if scale > 0 else float("nan")


def spearman(first: ArrayLike, second: ArrayLike) -> float:
    """Compute Spearman's rho, Pearson's correlation of the ranks, -1..1; NaN where a column is constant.

    Args:
        first: N finite numbers.
        second: N finite numbers.
    """
    checked_first, checked_second = check_columns(first=first, second=second)
    return correlate(rank_values(checked_first), rank_values(checked_second))


def spearman_within(first: ArrayLike, second: ArrayLike, groups: ArrayLike) -> WithinGroups:
    """Average Spearman's rho over groups; groups that rank nothing are counted and left out.

    Args:
        first: N finite numbers.
        second: N finite numbers.
        groups: N labels, such as prompt ids.
    """
    checked_first, checked_second = check_columns(first=first, second=second)
    numbers, count = number_labels(groups, len(checked_first))
    # Rows of each group; NaN of groups that rank nothing is dropped below and counted.
    rows_of = np.split(np.argsort(numbers, kind="stable"), np.cumsum(np.bincount(numbers))[:-1])
    rhos = np.array([spearman(checked_first[rows], checked_second[rows]) for rows in rows_of])
    defined = rhos[~np.isnan(rhos)]
    mean = float(defined.mean()) if defined.size else float("nan")
    return WithinGroups(mean, groups=len(defined), left_out=count - len(defined))
