"""All that is known of one run when its report is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from prefboost.diagnosis import Inspection
from prefboost.engines.budget import Spend

__all__ = ["RunRecord", "TrainingRecord"]


@dataclass(frozen=True)
class TrainingRecord:
    """One training of a run.

    Args:
        log: lines of its log, oldest first.
        report: what it noted at its end; empty while it goes on.
        pairs: GoalPairs that it trains on; None where the folder does not hold them.
    """

    log: Sequence[Mapping[str, Any]] = ()
    report: Mapping[str, Any] = field(default_factory=dict)
    pairs: pl.DataFrame | None = None


@dataclass(frozen=True)
class RunRecord:
    """A run folder as it was read.

    Args:
        name: of the run; unique on the page.
        manifest: its manifest.json.
        trainings: name ("" where there is one, else e.g. ``round 1``) -> training, in order.
        running: a process is at work in the folder.
        completions: stage -> scored completions of held-out prompts.
        inspection: of the pairs of the last training.
        spending: store of answers -> what all calls that filled it have spent.
    """

    name: str
    manifest: Mapping[str, Any]
    trainings: Mapping[str, TrainingRecord] = field(default_factory=dict)
    running: bool = False
    completions: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    inspection: Inspection | None = None
    spending: Mapping[str, Spend] = field(default_factory=dict)

    @property
    def stages(self) -> Mapping[str, Mapping[str, Any]]:
        """Stage -> entry of the manifest, of all finished stages."""
        stages: Mapping[str, Mapping[str, Any]] = self.manifest.get("stages", {})
        return stages

    def label(self, training: str) -> str:
        """Name a training on a page of several runs."""
        return f"{self.name}, {training}" if training else self.name
