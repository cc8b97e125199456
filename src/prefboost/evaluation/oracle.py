"""Our figures held against figures that others published: what agrees, how closely, and how closely it must.

An oracle is a folder of such figures. It is not shipped (the data have licences of their own), so each of its files may
be absent, and then that is said. `prefboost.evaluation.selfcheck` goes through all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Check", "Oracle"]


@dataclass(frozen=True)
class Check:
    """Figures of one kind beside those that were published.

    Args:
        benchmark: of what.
        what: the figure, and its unit.
        published: name (a model, mostly) -> the published figure.
        ours: name -> ours.
        allowed: greatest difference that is still the same figure.
    """

    benchmark: str
    what: str
    published: Mapping[str, float]
    ours: Mapping[str, float]
    allowed: float

    @property
    def deviations(self) -> dict[str, float]:
        """Name -> difference; inf where one side has no figure."""
        found = {}
        for name in {**self.published, **self.ours}:
            apart = abs(self.ours.get(name, math.nan) - self.published.get(name, math.nan))
            found[name] = math.inf if math.isnan(apart) else apart
        return found

    @property
    def worst(self) -> str:
        """The name with the greatest difference; empty where there is nothing to compare."""
        return max(self.deviations, key=self.deviations.__getitem__, default="")

    @property
    def deviation(self) -> float:
        """The greatest difference; inf where there is nothing to compare."""
        return max(self.deviations.values(), default=math.inf)

    @property
    def is_ok(self) -> bool:
        """Whether every difference is allowed."""
        return self.deviation <= self.allowed

    @property
    def record(self) -> dict[str, Any]:
        """As JSON takes it; a figure that one side lacks is null."""
        return {
            "benchmark": self.benchmark, "what": self.what, "allowed": self.allowed, "ok": self.is_ok,
            "deviation": self.deviation if math.isfinite(self.deviation) else None, "worst": self.worst,
            "published": dict(self.published), "ours": dict(self.ours),
        }  # fmt: skip


class Oracle(NamedTuple):
    """What a folder may hold.

    Args:
        name: of what is checked.
        files: all that it needs.
        checks: from the folder to what was found.
        library: a package that it needs too; empty for none.
    """

    name: str
    files: tuple[str, ...]
    checks: Callable[[Path], Iterator[Check]]
    library: str = ""
