"""A number with its interval: the one record in which every measured figure is reported."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from prefboost.errors import DataError

__all__ = ["Interval", "measure_separability"]


@dataclass(frozen=True)
class Interval:
    """An estimate and where it may lie.

    Args:
        estimate: the statistic on all rows.
        low: lower end; NaN where there are fewer than two clusters to judge by.
        high: upper end; NaN likewise.
        level: share of such intervals that hold the true value, 0..1, such as 0.95.
        rows: rows that the estimate rests on.
        clusters: independent clusters (prompts) among them.
    """

    estimate: float
    low: float
    high: float
    level: float
    rows: int
    clusters: int

    @classmethod
    def without_ends(cls, estimate: float, *, level: float, rows: int, clusters: int) -> Interval:
        """Report a number whose uncertainty is unknown: both ends are NaN."""
        return cls(estimate, math.nan, math.nan, level, rows, clusters)

    @classmethod
    def from_percentiles(
        cls, estimate: float, replicates: Sequence[float] | np.ndarray, *, level: float, rows: int, clusters: int
    ) -> Interval:
        """Take the plain percentile interval of replicates, as published figures do; NaN replicates are left out.

        `prefboost.statistics.bootstrap` expands the percentiles for few clusters; this does not.

        Args:
            estimate: the statistic on all rows.
            replicates: [B], the statistic in every resample.
            level: share of intervals that should hold the true value.
            rows: rows that the estimate rests on.
            clusters: independent clusters among them.
        """
        # Published figures take NumPy's linear interpolation; `expand_percentiles` takes Weibull's, on purpose.
        tail = (1 - level) / 2
        low, high = np.nanquantile(replicates, [tail, 1 - tail])
        return cls(estimate, float(low), float(high), level, rows, clusters)

    def scale(self, factor: float) -> Interval:
        """Return the interval in another unit, such as percent: estimate and ends times ``factor`` (> 0)."""
        return replace(self, estimate=factor * self.estimate, low=factor * self.low, high=factor * self.high)

    def excludes(self, value: float) -> bool:
        """Return whether a value lies outside; False where the ends are unknown."""
        # Comparisons with NaN are false: unknown ends exclude nothing.
        return value < self.low or value > self.high

    def format(self, decimals: int = 2, *, end_decimals: int | None = None, signed: bool = False) -> str:
        """Write the estimate and, where they are known, its ends.

        Args:
            decimals: of the estimate.
            end_decimals: of both ends; None: as many.
            signed: write a plus before positive numbers.

        >>> Interval(44.658, 41.04, 48.21, 0.95, rows=805, clusters=805).format(end_decimals=1)
        '44.66 [41.0, 48.2]'
        """
        sign = "+" if signed else ""
        estimate = f"{self.estimate:{sign}.{decimals}f}"
        if math.isnan(self.low):
            return estimate
        form = f"{sign}.{decimals if end_decimals is None else end_decimals}f"
        return f"{estimate} [{self.low:{form}}, {self.high:{form}}]"

    def __str__(self) -> str:
        """Write it as in reports: estimate, both ends, what it rests on.

        >>> str(Interval(5.25, 5.0, 5.5, 0.95, rows=40, clusters=10))
        '5.25 [5.00, 5.50] (n=40, 10 clusters)'
        """
        ends = " [unknown]" if math.isnan(self.low) else ""
        return f"{self.format()}{ends} (n={self.rows}, {self.clusters} clusters)"


def measure_separability(intervals: Mapping[Hashable, Interval]) -> float:
    """Measure separability (arXiv 2406.11939, section 3): the share of pairs of models whose intervals do not overlap.

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
