"""Bootstrap intervals: percentile, over rows or over whole clusters (all completions of a prompt come or go together).

Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13; clusters: Cameron, Gelbach and Miller (2008),
Bootstrap-based improvements for inference with clustered errors. Percentiles are expanded for few clusters, where plain
ones are too narrow by a factor of sqrt((K - 1) / K) z / t: Hesterberg (2015), What Teachers Should Know About the
Bootstrap, section 5.2. Deterministic for a seed.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field

from prefboost.settings import Settings
from prefboost.statistics.columns import FloatColumn, check_columns, number_labels
from prefboost.statistics.interval import Interval

__all__ = [
    "USUAL",
    "Bootstrap",
    "bootstrap",
    "bootstrap_mean",
    "bootstrap_mean_by",
    "expand_percentiles",
    "student_quantile",
]

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
    made = check_columns(**{f"{position}": column for position, column in enumerate(columns)})
    numbers, count = number_labels(clusters, len(made[0]))
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
    (column,) = check_columns(values=values)
    numbers, count = number_labels(clusters, len(column))
    totals, sizes = np.bincount(numbers, weights=column), np.bincount(numbers)
    rng = np.random.default_rng(how.seed)
    block = max(1, _BLOCK // count)
    parts: list[FloatColumn] = []
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
    column, group = check_columns(values=values, groups=groups)
    numbers, _ = number_labels(clusters, len(column))
    inside = {float(one): group == one for one in np.unique(group)}
    return {one: bootstrap_mean(column[rows], clusters=numbers[rows], how=how) for one, rows in inside.items()}


def expand_percentiles(replicates: FloatColumn, clusters: int, level: float) -> tuple[float, float]:
    """Both ends of the expanded percentile interval: for a mean as wide as Student's, and as skew as the replicates.

    Args:
        replicates: the statistic in every resample; NaN where a resample says nothing.
        clusters: K that were drawn.
        level: share of intervals that should hold the true value.

    Returns:
        NaN, NaN where there are no replicates or fewer than two clusters.
    """
    known = replicates[~np.isnan(replicates)]
    if not known.size or clusters < 2:
        return float("nan"), float("nan")
    tail = NormalDist().cdf(-np.sqrt(clusters / (clusters - 1)) * student_quantile((1 + level) / 2, clusters - 1))
    low, high = np.quantile(known, [tail, 1 - tail], method="weibull")  # a tail of B draws is (B + 1) times its share
    return float(low), float(high)


def student_quantile(share: float, freedom: int) -> float:
    """The quantile of Student's distribution, to 1e-3 from five degrees of freedom on (Fisher and Cornish 1960).

    Args:
        share: 0..1.
        freedom: degrees, at least 1.

    >>> round(student(0.975, 9), 3)
    2.262
    """
    z = NormalDist().inv_cdf(share)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return float(sum(term / freedom**power for power, term in enumerate(terms)))


def _interval(estimate: float, replicates: FloatColumn, rows: int, clusters: int, how: Bootstrap) -> Interval:
    low, high = expand_percentiles(replicates, clusters, how.level)
    return Interval(float(estimate), low, high, how.level, rows=rows, clusters=clusters)
