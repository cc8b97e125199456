"""Separability: the share of pairs of models that a benchmark tells apart (arXiv 2406.11939, section 3)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from itertools import combinations

from prefboost.errors import DataError
from prefboost.statistics.interval import Interval

__all__ = ["measure_separability"]


def measure_separability(intervals: Mapping[Hashable, Interval]) -> float:
    """Measure the share of pairs of models whose intervals do not overlap, 0..1.

    Args:
        intervals: model -> its figure with the interval.

    Raises:
        DataError: there are fewer than two models.
    """
    # Every pair once; the order within a pair does not matter, since overlap is symmetric.
    pairs = list(combinations(intervals.values(), 2))
    if not pairs:
        raise DataError(f"{len(intervals)} models cannot be told apart", remedy="give two or more")
    # Ends that are unknown (NaN) compare as false, so that such a pair counts as overlapping.
    disjoint = (first.low > second.high or first.high < second.low for first, second in pairs)
    return sum(disjoint) / len(pairs)
