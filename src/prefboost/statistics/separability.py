"""How well a benchmark tells models apart (arXiv 2406.11939, section 3)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from itertools import combinations

from prefboost.errors import DataError
from prefboost.statistics.interval import Interval

__all__ = ["measure_separability"]


def measure_separability(intervals: Mapping[Hashable, Interval]) -> float:
    """The share of pairs of models whose intervals do not overlap, 0..1.

    Args:
        intervals: model -> its figure.

    Raises:
        DataError: there are fewer than two models.
    """
    pairs = list(combinations(intervals.values(), 2))
    if not pairs:
        raise DataError(f"{len(intervals)} models cannot be told apart", remedy="give two or more")
    # Ends that are unknown (NaN) compare as false, so that such a pair counts as not told apart.
    apart = (one.low > other.high or one.high < other.low for one, other in pairs)
    return sum(apart) / len(pairs)
