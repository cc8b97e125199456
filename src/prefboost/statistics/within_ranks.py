"""Rank correlation within groups, pooled over groups, also with a third column held equal (partial correlation).

Values are ranked within each group (the completions of a prompt), and ranks divided by the group's size and centred, so
that every row has the same weight and no difference between groups counts. Over one group this is Spearman's rho, and
with a third column Spearman's partial rho. Unlike a mean of the groups' own correlations it is defined for groups of
two, and its partial form does not degenerate in groups of three or four. As with every partial rank correlation, a
part of a common cause stays, since ranks are coarse and not linear in what they rank: where two columns have nothing
but it in common and correlate by 0.6, 0.12 to 0.17 stays in groups of four, 0.07 in groups of 22 (simulated).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from prefboost.statistics.columns import check_columns, number_labels
from prefboost.statistics.rank_correlation import rank_values

__all__ = ["PooledRanks", "correlate_ranks_within"]


@dataclass(frozen=True)
class PooledRanks:
    """A rank correlation within groups.

    Args:
        estimate: -1..1; NaN where a column varies in no group.
        by_group: label -> a value whose mean over groups is the estimate, and whose spread over groups is how much
            each of them moves it (its influence function), so that a bootstrap of their mean gives the interval.
        left_out: groups of one row, in which nothing is ranked.
    """

    estimate: float
    by_group: Mapping[str, float]
    left_out: int


def correlate_ranks_within(
    first: ArrayLike, second: ArrayLike, groups: ArrayLike, *, control: ArrayLike | None = None
) -> PooledRanks:
    """Correlate the ranks of two columns within groups.

    Args:
        first: N finite numbers.
        second: N finite numbers.
        groups: N labels, such as prompt ids.
        control: N finite numbers that are held equal, such as lengths: their ranks' linear part is taken from both
            columns' ranks. None: nothing is.
    """
    columns = check_columns(first=first, second=second, **({} if control is None else {"control": control}))
    numbers, count = number_labels(groups, len(columns[0]))
    sizes = np.bincount(numbers, minlength=count)
    before = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    ranks = []
    for column in columns:
        # One ranking of (group, value) ranks within each group at once: groups follow one another.
        whole = rank_values(np.unique(column, return_inverse=True)[1] + numbers * float(len(column)))
        ranks.append((whole - before[numbers] - (sizes[numbers] + 1) / 2) / sizes[numbers])
    a, b = ranks[0], ranks[1]
    if control is not None:
        scale = ranks[2] @ ranks[2]
        # Residuals of the least-squares fit; without any difference in length there is nothing to take out.
        a, b = (column - ranks[2] * (column @ ranks[2] / scale if scale > 0 else 0.0) for column in (a, b))
    names = np.unique(np.asarray(groups))
    ranked = np.flatnonzero(sizes > 1)
    norms = np.array([a @ a, b @ b])
    if not (norms > 1e-12).all():
        return PooledRanks(float("nan"), {}, count - len(ranked))
    # With z of mean square 1 the correlation is the mean of z_a z_b. A group moves it by its share of z_a z_b, less
    # what its rows do to the scales: rho (z_a^2 + z_b^2) / 2.
    scales = np.sqrt(norms / len(ranked))
    rho = float(np.clip((a @ b) / np.sqrt(norms.prod()), -1, 1))
    products, squares = a * b / scales.prod(), (a / scales[0]) ** 2 + (b / scales[1]) ** 2
    moved = np.bincount(numbers, products - rho * squares / 2, minlength=count) + rho
    return PooledRanks(rho, {str(names[at]): float(moved[at]) for at in ranked}, count - len(ranked))
