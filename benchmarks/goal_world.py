"""A world with known truth for goals: when does reward augmentation help, and by how much?

    python benchmarks/goal_world.py --keep DIR [--missing] [--axes main judge ...] [--arms ra ...] [--betas 0.1 ...]
    python benchmarks/goal_world.py --keep DIR --print [--plot docs/images/goal_world.svg]
    python benchmarks/goal_world.py --quick

Small transformers train on the scores of a judge that may be noisy or gameable; what counts is the gold score, which is
known. Every cell (world, arm, beta) trains its seeds at once and is kept as a file of its own, so that a run can be
stopped at any time; `--missing` trains only what the folder does not hold. Betas are chosen on validation topics and
arms compared on held-out ones. Intervals draw whole seeds: each has topics, writers, start model and order of its own.
"""

from __future__ import annotations

import argparse
import functools
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from goal_world_arms import ARMS, GOOD, Cell, Ground, build_ground, measure_start, train_cell
from goal_world_model import Weights, pretrain
from goal_world_report import draw_figure, print_report, read_outcomes
from goal_world_truth import Truth, World, draw_truths

from prefboost.atomic import replace_atomically, write_atomically

BETAS = (0.01, 0.03, 0.1, 0.3, 1.0)
"""0.01 is the beta of arXiv 2410.08067, 0.1 that of arXiv 2305.18290."""
STEPS = (100, 200, 400, 800)
LR = 1e-3
AXIS_ARMS = ("dpo", "ra", "grid", "dpo_sft")
AXIS_BETAS = (0.01, 0.1, 0.3, 1.0)
AXIS_STEPS = (100, 200, 400)
AXES: dict[str, tuple[World, float]] = {
    "main": (World(), LR),
    "judge": (World(interior=True, gameable=True, noise=1.5), LR),
    "gameable": (World(gameable=True), LR),
    "flattered": (World(gameable=True, flattering=True), LR),
    "noise": (World(noise=2.0), LR),
    "interior": (World(interior=True), LR),
    "on_policy": (World(on_policy=True), LR),
    "second": (World(pairing="second"), LR),
    "worst": (World(pairing="worst"), LR),
    "capped": (World(coverage="capped"), LR),
    "rich": (World(coverage="rich"), LR),
    "deaf": (World(deaf=True), LR),
    "lr_third": (World(), LR / 3),
    "lr_triple": (World(), LR * 3),
}
"""Name -> world and learning rate; each differs from main in one thing, `judge` in all three that judges get wrong,
and `flattered` from `gameable`."""
FULL_AXES = ("main", "judge", "flattered")
"""Worlds in which all arms are run."""
START_STEPS = 2500


def main(argv: Sequence[str] | None = None) -> None:
    options = _parse(argv)
    torch.set_num_threads(options.threads)
    if not options.print:
        run_cells(plan_cells(options), options)
    outcomes = read_outcomes(options.keep)
    print_report(outcomes)
    if options.plot:
        draw_figure(outcomes, options.plot)
        print(f"drawn: {options.plot}")


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, help="folder of results, one file per cell")
    parser.add_argument("--missing", action="store_true", help="train only the cells that --keep does not hold")
    parser.add_argument("--print", action="store_true", help="train nothing, report what --keep holds")
    parser.add_argument("--plot", type=Path, help="write the figure (svg or png)")
    parser.add_argument("--axes", nargs="*", choices=list(AXES), default=list(AXES))
    parser.add_argument(
        "--arms", nargs="*", choices=list(ARMS), help="default: all in main, judge and flattered, four elsewhere"
    )
    parser.add_argument("--betas", nargs="*", type=float, help="default: five in main, four elsewhere")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="two arms, two seeds, few steps: a check that all runs")
    options = parser.parse_args(argv)
    if options.keep is None:
        if not options.quick:
            parser.error("give --keep DIR, or --quick")
        options.keep = Path("goal-world-quick")
    if options.quick:
        options.seeds, options.axes = 2, ["main", "judge"]
        options.arms, options.betas = options.arms or ["dpo", "ra"], options.betas or [0.1]
    return options


def plan_cells(options: argparse.Namespace) -> list[Cell]:
    """List the cells in the order in which they are trained: the most telling first."""
    cells = []
    for axis in options.axes:
        world, lr = AXES[axis]
        betas, steps = (BETAS, STEPS) if axis == "main" else (AXIS_BETAS, AXIS_STEPS)
        if options.quick:
            world, steps = replace(world, pairs=200), (2, 4)
        for arm in options.arms or (ARMS if axis in FULL_AXES else AXIS_ARMS):
            tried = (options.betas or betas) if arm != "sft" else (0.0,)
            cells += [Cell(axis, arm, beta, steps, lr, world) for beta in tried]
    return cells


def run_cells(cells: Sequence[Cell], options: argparse.Namespace) -> None:
    """Train cells and keep each as a file.

    Raises:
        SystemExit: a file of the same name was trained with other settings or seeds.
    """
    seeds = list(range(options.seeds))
    due = [cell for cell in cells if not (options.missing and _is_kept(cell, seeds, options.keep))]
    grounds = functools.cache(lambda world: _make_ground(world, seeds, options))
    starts = functools.cache(lambda world: measure_start(grounds(world)))
    tell = _Pace(sum(ARMS[cell.arm].rows * cell.steps[-1] for cell in due))
    for number, cell in enumerate(due, 1):
        ground, began = grounds(cell.world), time.process_time()
        tell.begin(f"[{number}/{len(due)}] {cell.name}", ARMS[cell.arm].rows)
        checkpoints = train_cell(cell, ground, tell)
        kept = {
            "cell": cell.describe(),
            "seeds": seeds,
            "cpu_seconds": round(time.process_time() - began, 1),
            "pairs": [len(pairs) for pairs in ground.pairs],
            "good_rejected_share": [float((each.frame["score_rejected"] >= GOOD).mean()) for each in ground.pairs],
            "top_share": [float((each.frame["score_chosen"] >= 10).mean()) for each in ground.pairs],
            "start": starts(cell.world),
            "checkpoints": checkpoints,
        }
        write_atomically(options.keep / f"{cell.name}.json", json.dumps(kept) + "\n")
        tell.end(checkpoints)


def _is_kept(cell: Cell, seeds: Sequence[int], keep: Path) -> bool:
    path = keep / f"{cell.name}.json"
    if not path.exists():
        return False
    kept = json.loads(path.read_text(encoding="utf-8"))
    if kept["cell"] != cell.describe() or kept["seeds"] != list(seeds):
        raise SystemExit(f"{path} was trained with other settings: give another folder, or leave --missing out")
    return True


def _make_ground(world: World, seeds: Sequence[int], options: argparse.Namespace) -> Ground:
    truths, topics = draw_truths(seeds)
    start = _load_start(truths, seeds, 5 if options.quick else START_STEPS, options.keep, world.deaf)
    return build_ground(world, truths, topics, start, seeds)


def _load_start(truths: Sequence[Truth], seeds: Sequence[int], steps: int, keep: Path, deaf: bool) -> Weights:
    """Read the start models, which worlds share, or train and keep them."""
    path = keep / f"start-{len(seeds)}-{steps}{'-deaf' * deaf}.pt"
    if path.exists():
        weights: Weights = torch.load(path, weights_only=True)
        return weights
    began = time.monotonic()
    weights = {}
    for step, loss, weights in pretrain(truths, seeds, steps, rated=0.0 if deaf else 0.2):  # noqa: B007
        if step % 500 == 499 or step == steps - 1:
            print(f"start models: step {step + 1} of {steps}, {loss:.3f} nats a word, {time.monotonic() - began:.0f} s")
    with replace_atomically(path) as waiting:
        torch.save(weights, waiting)
    return weights


class _Pace:
    """Progress lines: the rate in goal pairs per second, and the time that is left at it."""

    def __init__(self, total: int) -> None:
        self._total, self._done, self._began, self._shown = total, 0, time.monotonic(), time.monotonic()
        self._title, self._rows = "", 0

    def begin(self, title: str, rows: int) -> None:
        self._title, self._rows = title, rows

    def __call__(self, step: int) -> None:
        self._done += self._rows
        if time.monotonic() - self._shown > 30:
            self._show(f"step {step}")

    def end(self, checkpoints: dict[str, Any]) -> None:
        last = list(checkpoints.values())[-1]["test"]
        self._show(f"gold {np.mean(last['gold']):.2f}, KL {np.mean(last['kl']):.1f}")

    def _show(self, what: str) -> None:
        self._shown = time.monotonic()
        rate = self._done / max(self._shown - self._began, 1e-9)
        left = (self._total - self._done) / max(rate, 1e-9) / 60
        print(f"{self._title}: {what}; {rate:,.0f} goal pairs per second and seed, {left:.0f} min left", flush=True)


if __name__ == "__main__":
    main()
