"""What the benchmark of synthetic pairs found, as intervals, a Markdown table and a figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prefboost.statistics.bootstrap import expand_percentiles

__all__ = ["draw", "markdown", "nested", "summed"]

Array = NDArray[np.float64]

TARGETS = {"people": "people", "expert": "overlap with the expert's answer", "model": "the generator as judge"}
"""Whose preferences reward models are held against, in words."""
RESAMPLES = 2000


def nested(values: Array, prompts: Sequence[str], chance: float | None = None) -> dict[str, float]:
    """Mean and 95 % interval when both the training (a seed) and the validation prompts are drawn.

    Args:
        values: [seeds, pairs].
        prompts: of the pairs; those of a prompt are drawn together.
        chance: where given, the share of draws on its far side is told as ``p`` (two-sided).
    """
    names, numbers = np.unique(np.asarray(prompts), return_inverse=True)
    sums = np.stack([np.bincount(numbers, weights=row, minlength=len(names)) for row in values])
    sizes = np.bincount(numbers, minlength=len(names)).astype(np.float64)
    rng = np.random.default_rng(0)
    seeds = rng.integers(len(values), size=RESAMPLES)
    drawn = rng.integers(len(names), size=(RESAMPLES, len(names)))
    found = np.take_along_axis(sums[seeds], drawn, axis=1).sum(1) / sizes[drawn].sum(1)
    low, high = expand_percentiles(found, len(names), 0.95)
    told = {"estimate": float(values.mean()), "low": float(low), "high": float(high)}
    if chance is not None:
        told["p"] = float(min(1.0, 2 * min((found <= chance).mean(), (found >= chance).mean())))
    return told


def summed(data: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What pools say of each method: counts added up, measures averaged."""
    found: dict[str, Any] = {}
    for name in data[0]:
        rows = [each[name] for each in data]
        told: dict[str, Any] = {
            key: sum(row[key] for row in rows) for key in ("prompts", "completions", "proposed", "pairs", "seconds")
        }
        told["spent"] = {key: sum(row["spent"][key] for row in rows) for key in rows[0]["spent"]}
        told["rejected"] = {}
        for row in rows:
            for reason, (count, example) in row["rejected"].items():
                told["rejected"][reason] = (told["rejected"].get(reason, (0, ""))[0] + count, example)
        measured = [row for row in rows if "longer" in row]
        for key in measured[0] if measured else ():
            if key not in told:
                told[key] = float(np.mean([row[key] for row in measured]))
        found[name] = told
    return found


def markdown(found: Mapping[str, Any]) -> str:
    """Tables of everything."""
    parts = [_accuracies(found), _differences(found), _data(found), _rejects(found)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _accuracies(found: Mapping[str, Any]) -> str:
    targets = [name for name in TARGETS if any(name in at for at in found["accuracy"].values())]
    shown = [
        ["trained on", "pairs", *(f"agrees with {TARGETS[name]} ({found['held'][name]} pairs)" for name in targets)]
    ]
    for data, at in found["accuracy"].items():
        shown.append([data, f"{at['pairs']:.0f}", *(_interval(at[name]) for name in targets)])
    for data, at in found["baselines"].items():
        shown.append([f"*{data}*", "", *(_interval(at[name]) if name in at else "" for name in targets)])
    return _table(shown)


def _differences(found: Mapping[str, Any]) -> str:
    if not found["differences"]:
        return ""
    shown = [["difference in agreement with people", "points", "p"]]
    for data, at in found["differences"].items():
        points = {end: 100 * at[end] for end in ("estimate", "low", "high")}
        shown.append([data, _interval(points, ".1f"), f"{at['p']:.2f}"])
    return _table(shown)


def _data(found: Mapping[str, Any]) -> str:
    shown = [[
        "method", "prompts", "completions", "pairs kept", "tokens read", "tokens written", "tokens a kept pair",
        "minutes", "chosen is longer", "chosen is the second", "distinct-2", "embeddings' spread",
        "labels that the expert's answer calls wrong", "that the model itself calls wrong",
        "its verdict turns with the order",
    ]]  # fmt: skip
    for name, at in found["data"].items():
        spent = at["spent"]
        tokens = spent["prompt_tokens"] + spent["tokens"]
        shown.append([
            name, f"{at['prompts']}", f"{at['completions']}", f"{at['pairs']} of {at['proposed']}",
            f"{spent['prompt_tokens']:,}", f"{spent['tokens']:,}", _number(tokens / max(at["pairs"], 1), ",.0f"),
            f"{at['seconds'] / 60:.1f}",
            *(_number(at.get(key), ".2f") for key in ("longer", "second", "distinct_2", "spread")),
            _noise(at), *(_number(at.get(key), ".2f") for key in ("model_noise", "order_flips")),
        ])  # fmt: skip
    return _table(shown)


def _noise(at: Mapping[str, Any]) -> str:
    """Share of labels that the expert's answer calls wrong, with its interval."""
    if "expert_noise" not in at:
        return ""
    return f"{at['expert_noise']:.2f} [{at['expert_noise_low']:.2f}, {at['expert_noise_high']:.2f}]"


def _rejects(found: Mapping[str, Any]) -> str:
    shown = [["method", "set aside because", "pairs", "for example"]]
    for name, at in found["data"].items():
        for reason, (count, example) in sorted(at["rejected"].items(), key=lambda pair: -pair[1][0]):
            text = " ".join(example.split()).replace("|", "/")
            shown.append([name, reason, f"{count}", text[:90]])
    return _table(shown) if len(shown) > 1 else ""


def _table(rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    lines.insert(1, f"|{'---|' * len(rows[0])}")
    return "\n".join(lines)


def _interval(at: Mapping[str, float], form: str = ".3f") -> str:
    return f"{at['estimate']:{form}} [{at['low']:{form}}, {at['high']:{form}}]"


def _number(value: float | None, form: str) -> str:
    return "" if value is None or math.isnan(value) else format(value, form)


def draw(found: Mapping[str, Any], out: Path) -> None:
    """Agreement with people by what was trained on, beside the labels' own agreement with the expert's answers."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    matplotlib.rcParams["svg.hashsalt"] = "prefboost"
    methods = [name for name in found["data"] if name in found["accuracy"]]
    kinds = {
        "synthetic pairs": "{}", "with the human pairs": "people + {}",
        "labels set right by the expert's answer": "{}, labels by the expert's answer",
    }  # fmt: skip
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(11, 0.5 * len(methods) + 1.9), layout="constrained", sharey=True
    )
    places = np.arange(len(methods))[::-1].astype(np.float64)
    for shift, (label, form) in zip((0.2, 0.0, -0.2), kinds.items(), strict=True):
        there = [at for at, name in enumerate(methods) if form.format(name) in found["accuracy"]]
        at = [found["accuracy"][form.format(methods[one])]["people"] for one in there]
        _bars(left, at, places[there] + shift, label)
    references = [name for name in found["accuracy"] if name.startswith("people (") and name.endswith(")")]
    for name, style in zip(references, ("--", "-.", ":"), strict=False):
        left.axvline(found["accuracy"][name]["people"]["estimate"], ls=style, color="black", lw=1, label=name)
    left.axvline(0.5, color="grey", lw=0.8)
    left.set(yticks=places, yticklabels=methods, xlabel=f"agreement with people, {found['held']['people']} pairs")
    left.legend(frameon=False, fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=3)
    noise = [found["data"][name] for name in methods]
    known = [(place, at) for place, at in zip(places, noise, strict=True) if "expert_noise" in at]
    intervals = [
        {"estimate": at["expert_noise"], "low": at["expert_noise_low"], "high": at["expert_noise_high"]}
        for _, at in known
    ]
    _bars(right, intervals, np.array([place for place, _ in known]), "")
    right.axvline(0.5, color="grey", lw=0.8)
    right.set(xlabel="labels that the expert's answer calls wrong (share)", xlim=(0.2, 0.9))
    figure.savefig(out, metadata={"Date": None} if out.suffix == ".svg" else None)
    plt.close(figure)


def _bars(panel: Any, at: Sequence[Mapping[str, float]], places: Array, label: str) -> None:
    if not at:
        return
    middle = np.array([each["estimate"] for each in at])
    ends = np.array([[each["low"] for each in at], [each["high"] for each in at]])
    panel.errorbar(middle, places, xerr=np.abs(ends - middle), fmt="o", ms=4, capsize=2, lw=1, label=label)
