"""Summaries of a column: range, histogram, quantiles."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

__all__ = ["BINS", "Histogram", "Lengths", "ScoreSummary", "build_histogram", "summarise_lengths", "summarise_scores"]

BINS = 10


@dataclass(frozen=True)
class Histogram:
    """Counts between rising edges; the last bin includes its upper edge."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]

    def count_filled(self, share: float = 0.01) -> int:
        """Count the bins that hold at least this share of all values."""
        total = sum(self.counts)
        return sum(count > 0 and count >= share * total for count in self.counts)


@dataclass(frozen=True)
class ScoreSummary:
    """Scores of one column: how many, how many missing (null or not finite), range, mean, and their histogram."""

    count: int
    missing: int
    low: float
    high: float
    mean: float
    histogram: Histogram


@dataclass(frozen=True)
class Lengths:
    """Characters or words: mean and quantiles (5 %, 50 %, 95 %, 100 %)."""

    mean: float
    p5: float
    p50: float
    p95: float
    most: float


def build_histogram(values: pl.Series) -> Histogram | None:
    """Count values in ten bins of equal width from the lowest to the highest finite one; None without any."""
    finite = _select_finite(values)
    if finite.is_empty():
        return None
    low, high = _to_number(finite.min()), _to_number(finite.max())
    if low == high:
        high = low + BINS
    # Shares of both ends, since the difference of two huge scores may be no float. The bins are found by comparison:
    # Polars divides by multiplying with the reciprocal, which is infinite for the width of tiny scores.
    edges = sorted(min(max(low * (1 - step / BINS) + high * (step / BINS), low), high) for step in range(BINS + 1))
    bins = pl.Series(edges[1:-1]).search_sorted(finite, side="right").cast(pl.Int64)
    counts = dict(bins.value_counts().iter_rows())
    return Histogram(tuple(edges), tuple(int(counts.get(step, 0)) for step in range(BINS)))


def summarise_scores(values: pl.Series) -> ScoreSummary | None:
    """Summarise the scores of a column; None where no value is finite."""
    finite = _select_finite(values)
    bins = build_histogram(finite)
    if bins is None:
        return None
    # Divided before they are added, since the sum of huge scores may be no float.
    mean = _to_number((finite / finite.len()).sum())
    low, high = _to_number(finite.min()), _to_number(finite.max())
    return ScoreSummary(finite.len(), values.len() - finite.len(), low, high, mean, bins)


def summarise_lengths(counts: pl.Series) -> Lengths:
    """Summarise lengths in characters or words; zeros where there are none."""
    marks = [counts.quantile(share, "nearest") for share in (0.05, 0.5, 0.95, 1.0)]
    return Lengths(_to_number(counts.mean()), *[_to_number(mark) for mark in marks])


def _select_finite(values: pl.Series) -> pl.Series:
    numbers = values.drop_nulls().cast(pl.Float64)
    return numbers.filter(numbers.is_finite())


def _to_number(value: object) -> float:
    return 0.0 if value is None else float(str(value))
