"""Measurements of training in a JSON file, so that sides can be timed one at a time, and the bars they are held to."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from training_sides import Outcome

__all__ = ["BARS", "Kept", "Line", "bars", "summary"]

BARS: dict[str, dict[str, dict[str, float]]] = {
    "cpu": {
        "alpaca_like": {
            "time_ratio": 2.9,
            "time_ratio_cached": 4.0,
            "time_ratio_ours_cached": 4.0,
            "time_ratio_trl_compact": 2.0,
            "memory_ratio": 2.3,
            "memory_ratio_fp32": 4.0,
            "time_ratio_fp32": 2.9,
            "time_ratio_cached_fp32": 4.0,
            "time_ratio_defaults": 2.9,
        },
        "long_prompt": {
            "time_ratio": 3.8,
            "time_ratio_cached": 5.0,
            "time_ratio_ours_cached": 5.0,
            "time_ratio_trl_compact": 2.0,
            "memory_ratio": 2.3,
            "memory_ratio_fp32": 4.0,
        },
    },
    "cuda": {
        "alpaca_like": {"time_ratio": 2.2, "memory_ratio": 2.0},
        "long_prompt": {"time_ratio": 2.4, "memory_ratio": 2.0},
        "long_goal_after": {"time_ratio": 3.5, "memory_ratio": 2.0},
    },
}
"""Device -> data -> ratio -> the least it is to be."""


@dataclass(frozen=True)
class Line:
    """One measured line of the table.

    Args:
        data: name of the data.
        name: of the contender.
        numerics: number type, and whether checkpointing was on.
        outcome: what was measured.
        rate: operations a second of a large matrix product just before.
    """

    data: str
    name: str
    numerics: str
    outcome: Outcome
    rate: float


@dataclass
class Kept:
    """Lines by data and contender; written to a file after every one, where there is a file.

    Args:
        settings: what all lines of one file must have in common.
        path: the file; None keeps nothing beyond this call.
        lines: what was measured so far.
    """

    settings: Mapping[str, Any]
    path: Path | None = None
    lines: dict[tuple[str, str], Line] = field(default_factory=dict)

    @classmethod
    def open(cls, settings: Mapping[str, Any], path: Path | None) -> Kept:
        """What a file holds, to be added to.

        Raises:
            SystemExit: it was measured with other settings.
        """
        kept = cls(json.loads(json.dumps(settings, default=str)), path)
        if path is None or not path.exists():
            return kept
        found = cls.read(path)
        other = [
            f"{name} {found.settings.get(name)}, now {now}"
            for name, now in kept.settings.items()
            if found.settings.get(name) != now
        ]
        if other:
            raise SystemExit(f"{path} was measured with {'; '.join(other)}: give these settings, or another file")
        return found

    @classmethod
    def read(cls, path: Path) -> Kept:
        """What a file holds."""
        found = json.loads(path.read_text(encoding="utf-8"))
        lines = [Line(**{**line, "outcome": Outcome(**line["outcome"])}) for line in found["lines"]]
        return cls(found["settings"], path, {(line.data, line.name): line for line in lines})

    def add(self, line: Line) -> None:
        """Keep a line; it takes the place of an earlier one of its data and contender."""
        self.lines[line.data, line.name] = line
        if self.path is not None:
            text = json.dumps({"settings": self.settings, "lines": [asdict(each) for each in self.lines.values()]})
            unfinished = self.path.with_name(f".{self.path.name}.partial")
            unfinished.write_text(text + "\n", encoding="utf-8")
            unfinished.replace(self.path)

    @property
    def outcomes(self) -> dict[tuple[str, str], Outcome]:
        """By data and contender."""
        return {key: line.outcome for key, line in self.lines.items()}


def bars(ratios: Mapping[str, Mapping[str, float]], device: str) -> Iterator[tuple[str, bool]]:
    """What is asked of the measured ratios: a line each, and whether it is met; ratios not measured are left out."""
    for data, wanted in BARS[device].items():
        for name, least in wanted.items():
            found = ratios.get(data, {}).get(name)
            if found is not None:
                said = f"{data:<16}{name:<24}{found:>7.2f}   at least {least:g}"
                yield f"{said}   {'pass' if found >= least else 'FAIL'}", found >= least


def summary(outcomes: dict[tuple[str, str], Outcome], native: bool | None = None) -> dict[str, dict[str, float]]:
    """Ratios by data: TRL over ours at the same numerics, so that more is better for ours.

    Args:
        outcomes: by data and contender.
        native: whether the device computes bf16 natively: TRL's defaults (bf16, checkpointing) are then held against
            ours as well (bf16 there, else float32; activations stored).
    """
    found: dict[str, dict[str, float]] = {}
    for data in dict.fromkeys(data for data, _ in outcomes):
        mine = {name: outcome for (where, name), outcome in outcomes.items() if where == data}
        ratios: dict[str, float] = {}
        for ours, trl, mark in (("ours", "trl", ""), ("ours_fp32", "trl_fp32", "_fp32")):
            if ours in mine and trl in mine:
                ratios |= _ratios(mine[ours], mine[trl], mark)
        if "ours" in mine:
            live = mine["ours"]
            for name in ("trl_compact", "trl_tuned"):
                if name in mine:
                    ratios[f"time_ratio_{name}"] = _round(mine[name].seconds / live.seconds)
            if "trl" in mine:
                for name in ("ours_cached", "ours_stored"):
                    if name in mine:
                        ratios[f"time_ratio_{name}"] = _round(mine["trl"].seconds / mine[name].seconds)
                        ratios[f"memory_ratio_{name}"] = _round(mine["trl"].peak_gib / mine[name].peak_gib)
        if native is not None and "trl" in mine and (default := "ours_stored" if native else "ours_fp32") in mine:
            ratios["time_ratio_defaults"] = _round(mine["trl"].seconds / mine[default].seconds)
        found[data] = ratios
    return found


def _ratios(ours: Outcome, trl: Outcome, mark: str) -> dict[str, Any]:
    return {
        f"time_ratio{mark}": _round(trl.seconds / ours.seconds),
        f"memory_ratio{mark}": _round(trl.peak_gib / ours.peak_gib),
        f"time_ratio_cached{mark}": _round(trl.seconds / (ours.seconds - ours.reference_seconds)),
        f"cpu_ratio{mark}": _round(trl.cpu_seconds / ours.cpu_seconds),
    }


def _round(ratio: float) -> float:
    return round(ratio, 3)
