"""Bootstrap intervals: percentile, over rows or over whole clusters (all completions of a prompt come or go together).

Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13; clusters: Cameron, Gelbach and Miller (2008),
Bootstrap-based improvements for inference with clustered errors. Deterministic for a seed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field

from prefboost.settings import Settings
from prefboost.statistics.columns import Column, finite_columns, numbered
from prefboost.statistics.interval import Interval

__all__ = ["USUAL", "Bootstrap", "bootstrap", "bootstrap_mean", "bootstrap_mean_by"]

_BLOCK = 4_000_000  # draws held at a time: 32 MB


class Bootstrap(Settings):
    """How intervals are drawn (Efron and Tibshirani 1993, chapter 13)."""

    resamples: int = Field(2000, ge=100, description="Resamples drawn; 1000 to 2000 (Efron and Tibshirani 1993, 13.3).")
    level: float = Field(0.95, gt=0, lt=1, description="Share of intervals that should hold the true value.")
    seed: int = Field(0, ge=0, description="Seed of the draws: the same data and seed give the same interval.")


USUAL = Bootstrap()
"""2000 resamples, 95 %, seed 0."""


def bootstrap(
    statistic: Callable[..., float],
    *columns: ArrayLike,
    clusters: ArrayLike | None = None,
    how: Bootstrap = USUAL,
) -> Interval:
    """The interval of any statistic of columns.

    Args:
        statistic: is called with the columns, one-dimensional float arrays, and returns a number.
        columns: one or more columns of N finite numbers.
        clusters: N labels; rows of one label are drawn together. None: every row is its own.
        how: resamples, level, seed.

    Raises:
        DataError: columns are empty, of different lengths, or hold NaN or an infinity.
    """
    made = finite_columns(**{f"{position}": column for position, column in enumerate(columns)})
    numbers, count = numbered(clusters, len(made[0]))
    rows_of = np.split(np.argsort(numbers, kind="stable"), np.cumsum(np.bincount(numbers))[:-1])
    rng = np.random.default_rng(how.seed)
    drawn = (np.concatenate([rows_of[one] for one in rng.integers(count, size=count)]) for _ in range(how.resamples))
    replicates = np.array([statistic(*(column[rows] for column in made)) for rows in drawn] if count > 1 else [])
    return _interval(statistic(*made), replicates, len(made[0]), count, how)


def bootstrap_mean(
    values: ArrayLike,
    *,
    clusters: ArrayLike | None = None,
    how: Bootstrap = USUAL,
) -> Interval:
    """The interval of a mean over rows; the same draws as ``bootstrap(np.mean, ...)``, many times faster.

    Args:
        values: N finite numbers.
        clusters: N labels; rows of one label are drawn together. None: every row is its own.
        how: resamples, level, seed.

    Raises:
        DataError: there are no values, or NaN or an infinity among them.
    """
    (column,) = finite_columns(values=values)
    numbers, count = numbered(clusters, len(column))
    totals, sizes = np.bincount(numbers, weights=column), np.bincount(numbers)
    rng = np.random.default_rng(how.seed)
    block = max(1, _BLOCK // count)
    parts: list[Column] = []
    for start in range(0, how.resamples if count > 1 else 0, block):
        drawn = rng.integers(count, size=(min(block, how.resamples - start), count))
        parts.append(totals[drawn].sum(1) / sizes[drawn].sum(1))
    return _interval(float(column.mean()), np.concatenate(parts or [np.empty(0)]), len(column), count, how)


def bootstrap_mean_by(
    values: ArrayLike,
    groups: ArrayLike,
    *,
    clusters: ArrayLike | None = None,
    how: Bootstrap = USUAL,
) -> dict[float, Interval]:
    """The interval of the mean of every group, such as the achieved score for every goal asked for.

    Args:
        values: N finite numbers.
        groups: N finite numbers; rows of one number form a group.
        clusters: N labels, as in ``bootstrap_mean``.
        how: resamples, level, seed; every group starts from the same seed.

    Returns:
        group -> interval, in rising order of the groups.
    """
    column, group = finite_columns(values=values, groups=groups)
    numbers, _ = numbered(clusters, len(column))
    inside = {float(one): group == one for one in np.unique(group)}
    return {one: bootstrap_mean(column[rows], clusters=numbers[rows], how=how) for one, rows in inside.items()}


def _interval(estimate: float, replicates: Column, rows: int, clusters: int, how: Bootstrap) -> Interval:
    tail = (1 - how.level) / 2
    low, high = np.quantile(replicates, [tail, 1 - tail]) if replicates.size else (np.nan, np.nan)
    return Interval(float(estimate), float(low), float(high), how.level, rows=rows, clusters=clusters)
