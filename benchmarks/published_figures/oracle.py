"""Compare computed figures with published ones: which figures agree, how closely, and how closely they must.

An oracle is a set of files with published figures. They are not in the repository, since the data have licences of
their own, so any file may be absent; `selfcheck` then reports the oracle as absent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple


@dataclass(frozen=True)
class Check:
    """Computed figures of one kind beside the published ones.

    Args:
        benchmark: kind of the benchmark.
        what: name of the figure, with its unit.
        published: name (a model, mostly) -> published figure.
        computed: name -> computed figure.
        allowed: greatest difference that still counts as agreement.
    """

    benchmark: str
    what: str
    published: Mapping[str, float]
    computed: Mapping[str, float]
    allowed: float

    @property
    def deviations(self) -> dict[str, float]:
        """Name -> absolute difference; inf where either side lacks the figure."""
        differences = {
            name: abs(self.computed.get(name, math.nan) - self.published.get(name, math.nan))
            for name in {**self.published, **self.computed}
        }
        return {name: math.inf if math.isnan(value) else value for name, value in differences.items()}

    @property
    def worst(self) -> str:
        """Name with the greatest difference; empty where there is nothing to compare."""
        return max(self.deviations, key=self.deviations.__getitem__, default="")

    @property
    def deviation(self) -> float:
        """Greatest difference; inf where there is nothing to compare."""
        return max(self.deviations.values(), default=math.inf)

    @property
    def is_ok(self) -> bool:
        """True if every difference is allowed."""
        return self.deviation <= self.allowed

    @property
    def record(self) -> dict[str, Any]:
        """JSON form; a deviation that cannot be computed is null."""
        return {
            "benchmark": self.benchmark, "what": self.what, "allowed": self.allowed, "ok": self.is_ok,
            "deviation": self.deviation if math.isfinite(self.deviation) else None, "worst": self.worst,
            "published": dict(self.published), "ours": dict(self.computed),
        }  # fmt: skip


class Oracle(NamedTuple):
    """Published figures that a folder may hold.

    Args:
        name: title of the comparison.
        files: names of all files that it needs.
        checks: reads the folder and yields comparisons.
        library: package that it needs too; empty for none.
    """

    name: str
    files: tuple[str, ...]
    checks: Callable[[Path], Iterator[Check]]
    library: str = ""
