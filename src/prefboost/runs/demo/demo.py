"""The main job, end to end: score, pair, relabel, condition, train; then ask held-out prompts for several scores."""

from __future__ import annotations

import json
import logging
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

import prefboost
from prefboost.atomic import write_atomically
from prefboost.chat import goal_text
from prefboost.devices import usable_cores
from prefboost.engines.engine import Request
from prefboost.engines.local.engine import Local
from prefboost.errors import MissingExtra
from prefboost.losses import DPO, SFT, Term, WeightedSum
from prefboost.preferences import Plain, RewardAugmented, condition, relabel
from prefboost.progress import phase
from prefboost.runs.demo.completions import (
    SAY,
    Demo,
    answer_held_out,
    load_training_completions,
    pair_extremes,
    state_goal,
)
from prefboost.runs.demo.measure import Following, Unlearning, measure_following, measure_unlearning, state_verdict
from prefboost.runs.demo.page import NAMES, draw_goal_response, render_demo
from prefboost.runs.demo.prompts import HELD_OUT_TOPICS, draw_demo_prompts
from prefboost.runs.demo.size import DemoPace, DemoSize, fit_size, load_size, save_size
from prefboost.runs.pipelines.training import train_on
from prefboost.scoring import RulesScorer
from prefboost.sources.writers.outputs import refuse_foreign, refuse_inputs
from prefboost.training import Train, TrainReport

if TYPE_CHECKING:
    from prefboost.progress import Progress

__all__ = ["Demo", "DemoReport", "run_demo"]

GOOD = 5.5
"""Completions from this score on count as good when unlearning is measured."""

_MOST_GOOD = 96
"""Most good completions whose log-probs are compared."""

_SCORED_TOKENS = 110
"""Tokens of such a completion and its prompt, about."""

_PLAIN_SHARE = 0.55
"""Time of training plain DPO as a share of augmented training: both views of a pair are the same text there, which
stands in the stream once."""

logger = logging.getLogger(__name__)


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


_RECORDED = ("model", "pairs", "steps", "held_out", "start", "machine", "reduced", "settings")
"""Facts that results.json holds."""

_PAGES = ("report.html", "goal_response.svg", "results.json")


@dataclass(frozen=True)
class DemoReport:
    """Outcome of the demo.

    Args:
        report: the HTML page.
        follows: whether the augmented policy visibly follows the goal.
        verdict: what was found, in sentences.
        seconds: wall time of this call.
        reduced: what of the full size was left out and why, in sentences; empty at full size.
    """

    report: str
    follows: bool
    verdict: list[str]
    seconds: float
    reduced: str = ""


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
    start, answer_s = _answer_without_goals(settings, progress)
    size = _choose_size(settings, out, began, answer_s, progress)
    settings = settings.model_copy(update={"prompts": size.prompts, "held_out": size.held_out})
    scored = RulesScorer().score(load_training_completions(settings, out, progress))
    pairs = pair_extremes(scored)
    trained: dict[str, TrainReport] = {}
    for name, how in (("augmented", RewardAugmented()), ("plain", Plain(repeat=2))):
        data = condition(relabel(pairs, how, say=SAY), SAY)
        trained[name] = train_on(data, _build_train_settings(settings), out / name, progress=progress)
    prompts = draw_demo_prompts(settings.held_out, HELD_OUT_TOPICS, seed=settings.seed + 1)
    engines = {name: Local(model=str(out / name / "model")).open() for name in trained}
    answers = {name: answer_held_out(engine, prompts, settings, progress) for name, engine in engines.items()}
    start = start.filter(pl.col("prompt_id").is_in(prompts["prompt_id"].implode()))
    followings = {name: measure_following(frame) for name, frame in answers.items()}
    changes = _measure_unlearning(scored.frame, pairs.frame, settings, out, progress)
    follows, sentences = state_verdict(followings["augmented"], followings["plain"], changes, answers)
    facts = _gather_facts(settings, trained, len(pairs), float(str(start["score"].mean())), time.monotonic() - began)
    facts["reduced"] = size.reduced
    page = render_demo(followings, answers, changes, {**facts, "follows": follows, "verdict": sentences})
    write_atomically(out / "report.html", page)
    write_atomically(out / "goal_response.svg", draw_goal_response(followings, facts["start"]))
    write_atomically(out / "results.json", _format_results(followings, changes, facts, follows, sentences))
    for name, frame in answers.items():
        frame.write_parquet(out / f"answers_{name}.parquet")
    return DemoReport(str(out / "report.html"), follows, sentences, time.monotonic() - began, size.reduced)


def _answer_without_goals(settings: Demo, progress: Progress | None) -> tuple[pl.DataFrame, float]:
    """Let the start model answer the held-out prompts; returns the answers and the seconds that each one took."""
    prompts = draw_demo_prompts(settings.held_out, HELD_OUT_TOPICS, seed=settings.seed + 1)
    engine = Local(model=settings.model).open()
    with phase(progress, f"loading {settings.model}"):
        engine.load()  # before the clock starts: the first time its weights are converted
    began = time.monotonic()
    answers = answer_held_out(engine, prompts, settings, progress, goals=(None,))
    return answers, (time.monotonic() - began) / answers.height


def _choose_size(settings: Demo, out: Path, began: float, answer_s: float, progress: Progress | None) -> DemoSize:
    """Time a micro-batch and choose what fits; the size of an interrupted call is kept."""
    key = settings.model_dump(mode="json")
    size = load_size(out, key)
    if size is None:
        with phase(progress, "timing a first micro-batch"):
            pace = _measure_pace(settings, answer_s)
        answers = settings.samples_per_goal * len(settings.goals) * len(NAMES)
        spent_s = time.monotonic() - began
        size = fit_size(settings.prompts, settings.held_out, answers, pace, spent_s, settings.minutes)
        save_size(out, key, size)
    logger.info("%s%s", size.expectation, f". {size.reduced}" if size.reduced else "")
    return size


def _measure_pace(settings: Demo, answer_s: float) -> DemoPace:
    """Time one micro-batch of training on pairs of the shipped completions.

    Args:
        settings: of the full size.
        answer_s: seconds that one completion took.
    """
    from prefboost.training.forecast import forecast_policy

    shipped = load_training_completions(settings.model_copy(update={"fresh": False}), Path(), None)
    pairs = condition(relabel(pair_extremes(RulesScorer().score(shipped)), RewardAugmented()), SAY)
    taken = forecast_policy(pairs.frame.to_arrow(), _build_train_settings(settings), say=SAY)
    training, reference = (taken.seconds.get(part, 0.0) for part in ("training", "reference"))
    scored_tokens = len(NAMES) * 2 * _MOST_GOOD * _SCORED_TOKENS  # before and after training
    logps = reference * scored_tokens / max(1, taken.tokens["packed"])
    drawn = settings.prompts * settings.samples * answer_s if settings.fresh else 0.0
    return DemoPace((1 + _PLAIN_SHARE) * (training + reference) + drawn, answer_s, logps)


def _check_installed() -> None:
    import importlib.util

    for library, extra in (("torch", "train"), ("trl", "train"), ("gguf", "demo"), ("matplotlib", "demo")):
        if importlib.util.find_spec(library) is None:
            raise MissingExtra(library, extra)


def _build_train_settings(settings: Demo) -> Train:
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
        max_length=640,
        max_prompt_length=512,
        score_buckets=(GOOD,),
        save_every=5,
        seed=settings.seed,
    )


def _measure_unlearning(
    scored: pl.DataFrame, pairs: pl.DataFrame, settings: Demo, out: Path, progress: Progress | None
) -> list[Unlearning]:
    """Compare log-probs of good unchosen completions before and after; policies are asked as they were trained.

    Empty where there is no such completion.
    """
    won = pairs["chosen"].list.eval(pl.element().struct.field("content")).list.join("\n")
    text = scored["completion"].list.eval(pl.element().struct.field("content")).list.join("\n")
    whole = scored["finish_reason"] != "length"
    good = scored.filter((scored["score"] >= GOOD) & whole & ~text.is_in(won.implode())).head(_MOST_GOOD)
    rows = good.select("prompt", "completion", "score", "prompt_id").to_dicts()
    if not rows:
        return []
    changes = []
    for name in NAMES:
        requests = [
            Request(state_goal(row["prompt"], row["score"] if name == "augmented" else None), goal=False)
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
        changes.append(measure_unlearning(NAMES[name], logps[0], logps[1], [row["prompt_id"] for row in rows]))
    return changes


def _gather_facts(
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
        "machine": f"{platform.machine()}, {usable_cores()} cores, {report.precision}",
        "start": start,
        "settings": [(name, str(value)) for name, value in settings.model_dump().items()],
        "method": _METHOD,
        "unlearning_caption": _UNLEARNING,
        "cost": f"This run took {seconds / 60:.1f} minutes; training: "
        + ", ".join(f"{NAMES[name]} {done.seconds:.0f} s" for name, done in trained.items())
        + ".",
    }


def _format_results(
    followings: Mapping[str, Following],
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
                "slope": asdict(each.slope),
                "by_goal": {f"{goal:g}": asdict(at) for goal, at in sorted(each.by_goal.items())},
            }
            for name, each in followings.items()
        },
        "unlearning": {change.policy: asdict(change.change) for change in changes},
        "facts": {
            key: facts[key]
            for key in ("reduced", "model", "pairs", "steps", "held_out", "start", "machine", "settings")
        },
    }
    return json.dumps(document, indent=2) + "\n"
