"""Logs of inspect (the UK AI Security Institute's evaluator): one JSON file per model, in version 2 of its EvalLog.

Written without the library, which reads them (``inspect view``, ``read_eval_log``, ``samples_df``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import prefboost
from prefboost.atomic import write_atomically
from prefboost.evaluation.benchmark import BenchmarkPrompt, JudgeVerdict, average_by_prompt
from prefboost.evaluation.results import Results
from prefboost.runs.evaluate.exports import Outcome

__all__ = ["build_inspect_log", "build_metrics", "build_sample", "read_time", "write_inspect_logs"]

VERSION = 2
"""Of the schema of EvalLog."""


def read_time() -> str:
    """Return the time in UTC as inspect writes it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write_inspect_logs(folder: Path, outcome: Outcome, *, clock: Callable[[], str] = read_time) -> None:
    """Write ``folder/inspect/TIME_BENCHMARK_ID.json`` for every model with verdicts; the ID is made of both names.

    Args:
        folder: of the benchmark.
        outcome: what is written; a baseline has no verdicts, and no log.
        clock: returns the time of writing.
    """
    benchmark = outcome.results.benchmark.replace("_", "-")
    for model in dict.fromkeys(verdict.model for verdict in outcome.verdicts):
        log = build_inspect_log(outcome, model, clock())
        # inspect lists files that begin with a time; written again, a log keeps its file.
        ending = f"_{benchmark}_{log['eval']['task_id']}.json"
        begins = log["eval"]["created"][:19].replace(":", "-")
        path = next((folder / "inspect").glob(f"*{ending}"), folder / "inspect" / f"{begins}{ending}")
        write_atomically(path, json.dumps(log, indent=2, ensure_ascii=False) + "\n", errors="replace")


def build_inspect_log(outcome: Outcome, model: str, created: str) -> dict[str, Any]:
    """Build the log of one model.

    Args:
        outcome: of the benchmark.
        model: a contestant, or the name of a file of completions.
        created: time of writing, in UTC.

    Returns:
        an EvalLog: each prompt is a sample with its verdicts, each figure a metric.
    """
    results = outcome.results
    judged: dict[str, list[JudgeVerdict]] = {prompt.uid: [] for prompt in outcome.prompts}
    for verdict in outcome.verdicts:
        if verdict.model == model:
            judged.setdefault(verdict.uid, []).append(verdict)
    # A measured benchmark keeps no prompts: its questions are known by their uids.
    prompts = {prompt.uid: prompt for prompt in outcome.prompts}
    completions = outcome.completions.get(model, {})
    samples = [
        build_sample(
            prompts.get(uid) or BenchmarkPrompt(uid, (uid,)), completions.get(uid, ()), verdicts, results, model
        )
        for uid, verdicts in judged.items()
    ]
    scored = sum(sample["scores"] is not None for sample in samples)
    name = hashlib.sha256(f"{results.benchmark}\n{model}".encode()).hexdigest()[:22]
    scores = {
        "name": results.benchmark, "scorer": results.benchmark, "scored_samples": scored,
        "unscored_samples": len(samples) - scored, **build_metrics(results, model),
    }  # fmt: skip
    return {
        "version": VERSION,
        "status": "success",
        "eval": {
            "eval_id": name, "run_id": name, "task_id": name, "created": created, "task": results.benchmark,
            "dataset": {"name": results.benchmark, "samples": len(samples), "sample_ids": list(judged)},
            "model": model, "config": {}, "packages": {"prefboost": prefboost.__version__},
            "metadata": {"goal": outcome.goals.get(model), "mode": results.mode, "alarms": list(results.alarms)},
        },
        "plan": {"name": "prefboost evaluate", "steps": []},
        "results": {"total_samples": len(samples), "completed_samples": len(samples), "scores": [scores]},
        "stats": {"started_at": created, "completed_at": created},
        "samples": samples,
    }  # fmt: skip


def build_metrics(results: Results, model: str) -> dict[str, Any]:
    """Return the figures of a model as metrics; those that are withheld have no number, and stand in the metadata."""
    figures = {
        f"{figure.name}/{figure.group}" if figure.group else figure.name: figure
        for figure in results.figures
        if figure.model == model
    }
    metrics = {
        name: {
            "name": name,
            "value": figure.value.estimate,
            "metadata": {"value": str(figure), "unit": figure.unit, "rows": figure.rows, "missing": figure.missing},
        }
        for name, figure in figures.items()
        if figure.value is not None
    }
    return {"metrics": metrics, "metadata": {"withheld": {n: str(f) for n, f in figures.items() if f.value is None}}}


def build_sample(
    prompt: BenchmarkPrompt, completion: Sequence[str], verdicts: Sequence[JudgeVerdict], results: Results, model: str
) -> dict[str, Any]:
    """Return a prompt with its completion and verdicts; where one has no value, it counts as not scored.

    Args:
        prompt: of the benchmark.
        completion: the model's, turn by turn; empty where there is none.
        verdicts: on that completion.
        results: of the benchmark.
        model: its name.
    """
    mean = average_by_prompt(verdicts).get(model, {}).get(prompt.uid)
    messages: list[Mapping[str, str]] = [*prompt.before]
    for turn, text in enumerate(prompt.turns):
        messages.append({"role": "user", "content": text})
        messages += [{"role": "assistant", "content": completion[turn]}] if turn < len(completion) else []
    last = completion[-1] if completion else ""
    choice = {"message": {"role": "assistant", "content": last, "model": model}, "stop_reason": "stop"}
    faults = [verdict.fault for verdict in verdicts if verdict.fault]
    rows = [{"part": verdict.part, "value": verdict.value, **verdict.facts} for verdict in verdicts]
    score = {"value": mean, "answer": last, "metadata": {"verdicts": rows}}
    return {
        "id": prompt.uid,
        "epoch": 1,
        "input": [*prompt.before, {"role": "user", "content": prompt.turns[0]}] if prompt.before else prompt.turns[0],
        "target": "\n\n".join(prompt.reference),
        "messages": messages,
        "output": {"model": model, "choices": [choice] if completion else [], "completion": last},
        "scores": None if mean is None else {results.benchmark: score},
        "metadata": {"category": prompt.category, "faults": faults, "verdicts": [] if mean is not None else rows},
    }
