"""The size of the demo on this machine: timed on a first micro-batch and some answers, then cut to the minutes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from prefboost.atomic import write_atomically

__all__ = ["SIZE_FILE", "DemoPace", "DemoSize", "fit_size", "load_size", "save_size"]

SIZE_FILE = "size.json"
"""In the demo's folder: the size that was chosen, so that the same call after an interruption goes on with it."""

_LEAST = {"prompts": 48, "held_out": 8}
"""Below this nothing can be seen; the demo then takes longer than it may, and says so."""

_OVERHEAD_S = 120.0
"""Loading and saving five models, checkpoints, drawing the report."""

_SLACK = 1.12
"""Optimiser steps and what a first micro-batch does not show; measured on two kinds of CPU."""

_USED = 0.93
"""Share of the minutes that is planned for: expectations were off by up to 7 %."""


@dataclass(frozen=True)
class DemoPace:
    """Time that the full size takes on this machine, in seconds.

    Args:
        training: of both policies, the reference's log-probs included.
        answer: of one completion of a held-out prompt.
        logps: of the log-probs that are compared at the end, whatever the size.
    """

    training: float
    answer: float
    logps: float


@dataclass(frozen=True)
class DemoSize:
    """Size of a demo.

    Args:
        prompts: to train on.
        held_out: prompts that are asked at the end.
        seconds: that this size is expected to take.
        full_seconds: that the full size would take.
        reduced: what of the full size is left out and why, in sentences; empty at full size.
    """

    prompts: int
    held_out: int
    seconds: float
    full_seconds: float
    reduced: str = ""

    @property
    def expectation(self) -> str:
        """What it will take, in a sentence."""
        return f"this demo will take about {self.seconds / 60:.0f} minutes on this machine"


def fit_size(
    prompts: int, held_out: int, answers: int, pace: DemoPace, spent_s: float, minutes: float | None
) -> DemoSize:
    """Choose the largest size that fits into the minutes.

    Args:
        prompts: to train on, at full size.
        held_out: prompts asked at the end, at full size.
        answers: completions that are still to be written per held-out prompt.
        pace: of this machine.
        spent_s: seconds that have gone by.
        minutes: that the whole may take; None takes the full size.
    """

    def seconds(share: float) -> float:
        writing = pace.answer * answers * _cut(held_out, share, "held_out")
        training = pace.training * _cut(prompts, share, "prompts") / prompts
        return spent_s + _OVERHEAD_S + _SLACK * (training + pace.logps + writing)

    full = seconds(1.0)
    shares = [percent / 100 for percent in range(100, 0, -1)]
    share = next((each for each in shares if minutes is None or seconds(each) <= _USED * 60 * minutes), shares[-1])
    chosen = DemoSize(_cut(prompts, share, "prompts"), _cut(held_out, share, "held_out"), seconds(share), full)
    if (chosen.prompts, chosen.held_out) == (prompts, held_out):
        return chosen
    reduced = (
        f"Reduced size: {chosen.prompts} of {prompts} training prompts and {chosen.held_out} of {held_out} held-out "
        f"prompts, since the full size would take about {full / 60:.0f} minutes on this machine and it was given "
        f"{minutes:g}. With fewer steps policies move less: these are not the figures of the full size."
    )
    return DemoSize(chosen.prompts, chosen.held_out, chosen.seconds, full, reduced)


def load_size(out: Path, settings: Mapping[str, Any]) -> DemoSize | None:
    """Read the size that an earlier call with the same settings chose; None where there was none."""
    try:
        record = json.loads((out / SIZE_FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return DemoSize(**record["size"]) if record["settings"] == dict(settings) else None


def save_size(out: Path, settings: Mapping[str, Any], size: DemoSize) -> None:
    """Write the size down for `load_size`."""
    write_atomically(out / SIZE_FILE, json.dumps({"settings": dict(settings), "size": asdict(size)}, indent=2) + "\n")


def _cut(full: int, share: float, what: str) -> int:
    return min(full, max(_LEAST[what], round(full * share)))
