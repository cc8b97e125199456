"""How well a benchmark tells models apart, and whether it does so as another one does (arXiv 2406.11939, section 3)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from itertools import combinations

from prefboost.errors import DataError
from prefboost.statistics.interval import Interval

__all__ = ["confident_agreement", "separability"]


def separability(intervals: Mapping[Hashable, Interval]) -> float:
    """The share of pairs of models whose intervals do not overlap, 0..1.

    Args:
        intervals: model -> its figure.

    Raises:
        DataError: there are fewer than two models.
    """
    pairs = list(combinations(intervals.values(), 2))
    if not pairs:
        raise DataError(f"{len(intervals)} models cannot be told apart", remedy="give two or more")
    return sum(_order(one, other) != 0 for one, other in pairs) / len(pairs)


def confident_agreement(intervals: Mapping[Hashable, Interval], reference: Mapping[Hashable, Interval]) -> float:
    """Mean over pairs of models of +1 where both benchmarks tell them apart alike, -1 where contrarily, else 0.

    Args:
        intervals: model -> its figure on the benchmark.
        reference: model -> its figure on another, such as votes of people; models on one side only are left out.

    Returns:
        -1..1.

    Raises:
        DataError: fewer than two models are on both.
    """
    both = [model for model in intervals if model in reference]
    pairs = list(combinations(both, 2))
    if not pairs:
        raise DataError(f"{len(both)} models are on both benchmarks", remedy="give two or more")
    told = (_order(intervals[a], intervals[b]) * _order(reference[a], reference[b]) for a, b in pairs)
    return sum(told) / len(pairs)


def _order(one: Interval, other: Interval) -> int:
    """1 or -1 where the first lies wholly above or below the other; 0 where they touch, or ends are unknown."""
    return int(one.low > other.high) - int(one.high < other.low)
