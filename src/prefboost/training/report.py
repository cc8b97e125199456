"""The report of a training, written beside the model and returned to the caller."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["TrainReport"]


@dataclass(frozen=True)
class TrainReport:
    """Counts, times and metrics of one training.

    Args:
        model: folder of the trained model.
        steps: optimiser steps in all.
        units: units trained on.
        pairs: goal pairs (views) trained on; texts where a reward model is fitted to scores.
        tokens: tokens of one pass, prompts counted once per completion.
        seconds: wall time of this call.
        dropped: reason -> rows left out.
        shortened: what was cut -> rows.
        losses: the same in sentences.
        metrics: of the last line of the log, and of the last evaluation (``eval_*``).
        resumed_from: step at which this call took up the work; 0 for a fresh run.
        engine: packed, padded or trl, the one that was used.
        precision: bf16, pure_bf16 or fp32, the one that was used.
        messages: why another engine than the setting's was used, and where memory ran short, and warnings of
            likelihood displacement and divergence.
        speed: tokens by kind, seconds by part of the work, what packing saved, peak memory, of this call.
    """

    model: str
    steps: int
    units: int
    pairs: int
    tokens: int
    seconds: float
    dropped: Mapping[str, int] = field(default_factory=dict)
    shortened: Mapping[str, int] = field(default_factory=dict)
    losses: Sequence[str] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    resumed_from: int = 0
    engine: str = "packed"
    precision: str = ""
    messages: Sequence[str] = ()
    speed: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> TrainReport:
        """Restore a report from its file, where null stands for a metric that was not finite."""
        numbers = {
            name: {key: math.nan if value is None else value for key, value in record.get(name, {}).items()}
            for name in ("metrics", "speed")
        }
        return cls(**{**record, **numbers})
