"""A number with its interval: what every measured figure is reported as."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Interval"]


@dataclass(frozen=True)
class Interval:
    """An estimate and where it may lie.

    Args:
        estimate: the statistic on all rows.
        low: lower end; NaN where there are fewer than two clusters to judge by.
        high: upper end; NaN likewise.
        level: share of intervals made this way that hold the true value, such as 0.95.
        rows: rows that the estimate rests on.
        clusters: independent clusters (prompts) among them.
    """

    estimate: float
    low: float
    high: float
    level: float
    rows: int
    clusters: int

    def excludes(self, value: float) -> bool:
        """Whether a value lies outside; False where the ends are unknown."""
        return value < self.low or value > self.high

    def __str__(self) -> str:
        """As it stands in reports: estimate, both ends, what it rests on.

        >>> str(Interval(5.25, 5.0, 5.5, 0.95, rows=40, clusters=10))
        '5.25 [5.00, 5.50] (n=40, 10 clusters)'
        """
        ends = "[unknown]" if math.isnan(self.low) else f"[{self.low:.2f}, {self.high:.2f}]"
        return f"{self.estimate:.2f} {ends} (n={self.rows}, {self.clusters} clusters)"
