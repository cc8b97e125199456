"""Numbers about a column: range, histogram, quantiles."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

__all__ = ["BINS", "Histogram", "Lengths", "ScoreSummary", "histogram", "lengths_of", "summary"]

BINS = 10


@dataclass(frozen=True)
class Histogram:
    """Counts between rising edges; the last bin includes its upper edge."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]

    def filled(self, share: float = 0.01) -> int:
        """How many bins hold at least this share of all values."""
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


def histogram(values: pl.Series) -> Histogram | None:
    """Ten bins of equal width from the lowest to the highest finite value; None without any."""
    known = _finite(values)
    if known.is_empty():
        return None
    low, high = _number(known.min()), _number(known.max())
    if low == high:
        high = low + BINS
    # Halves and shares, since the difference of two huge scores may be no float.
    width = high / 2 / BINS - low / 2 / BINS or 1.0
    edges = sorted(min(max(low * (1 - step / BINS) + high * (step / BINS), low), high) for step in range(BINS + 1))
    bins = ((known / 2 - low / 2) / width).floor().clip(0, BINS - 1).cast(pl.Int64)
    counted = dict(bins.value_counts().iter_rows())
    return Histogram(tuple(edges), tuple(int(counted.get(step, 0)) for step in range(BINS)))


def summary(values: pl.Series) -> ScoreSummary | None:
    """None where there is no finite value."""
    known = _finite(values)
    bins = histogram(known)
    if bins is None:
        return None
    mean = _number((known / known.len()).sum())
    low, high = _number(known.min()), _number(known.max())
    return ScoreSummary(known.len(), values.len() - known.len(), low, high, mean, bins)


def lengths_of(counts: pl.Series) -> Lengths:
    """Zeros where there is nothing."""
    marks = [counts.quantile(share, "nearest") for share in (0.05, 0.5, 0.95, 1.0)]
    return Lengths(_number(counts.mean()), *[_number(mark) for mark in marks])


def _finite(values: pl.Series) -> pl.Series:
    known = values.drop_nulls().cast(pl.Float64)
    return known.filter(known.is_finite())


def _number(value: object) -> float:
    return 0.0 if value is None else float(str(value))
