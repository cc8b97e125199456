"""The main job, end to end: score, pair, relabel, condition, train; then ask held-out prompts for several scores."""

from __future__ import annotations

import json
import logging
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

import prefboost
from prefboost.atomic import write_atomically
from prefboost.chat import goal_text
from prefboost.devices import usable_cores
from prefboost.engines.engine import Request
from prefboost.engines.local.engine import Local, LocalEngine
from prefboost.errors import MissingExtra
from prefboost.progress import phase
from prefboost.runs.demo.arms import Arm, build_train_settings, list_arms, relabel_for
from prefboost.runs.demo.completions import (
    PROMPTS_SEED,
    SAY,
    Demo,
    answer_held_out,
    load_training_completions,
    pair_extremes,
    state_goal,
)
from prefboost.runs.demo.gold import with_gold
from prefboost.runs.demo.measure import (
    TopScore,
    Unlearning,
    measure_following,
    measure_slope_gap,
    measure_top,
    measure_unlearning,
    state_verdict,
)
from prefboost.runs.demo.page import Findings, draw_goal_response, record_findings, render_demo
from prefboost.runs.demo.size import DemoPace, DemoSize, fit_size, load_size, save_size
from prefboost.runs.demo.tasks import draw_tasks
from prefboost.runs.pipelines.training import train_on
from prefboost.scoring import RulesScorer
from prefboost.sources.writers.outputs import refuse_foreign, refuse_inputs
from prefboost.training import TrainReport

if TYPE_CHECKING:
    from prefboost.progress import Progress

__all__ = ["Demo", "DemoReport", "run_demo"]

GOOD = 8.0
"""Gold score from which an answer counts as good when unlearning is measured: four of its five checks hold."""

_MOST_GOOD = 64
"""Most good answers whose log-probs are compared."""

_SCORED_TOKENS = 110
"""Tokens of such an answer and its prompt, about."""

_PLAIN_SHARE = 0.55
"""Time of training plain DPO as a share of augmented training: both views of a pair are the same text there, which
stands in the stream once."""

logger = logging.getLogger(__name__)


_METHOD = (
    "Completions sampled from the start model get a proxy score of 1 to 10: the share of one-sided rules that hold "
    "(no more than so many words, so many sentences or numbered items, keywords that occur anywhere). Short text that "
    "says nothing can keep them all, as judges in use can be gamed too. The best and the worst completion of each "
    "prompt by this score form a pair. Reward augmentation trains each pair twice: asked for the higher score the "
    "better completion wins, asked for the lower one the other does; plain DPO trains each pair twice with the better "
    "one winning. All losses are DPO plus a little of the winning completion's likelihood, which keeps texts whole. "
    "The gold score, seen by no training, is the share of five checks: length within both bounds; as many sentences "
    "or items as asked for, none of a few words only, items distinct and of the category; keywords used in such "
    "sentences; on topic; nothing repeated and nothing copied from the prompt. All policies are asked in the same "
    "words: "
    f"{goal_text(SAY, 10.0)!r}."
)

_UNLEARNING = (
    f"Completions of training prompts with a gold score of at least {GOOD:g} that came to their end and that no pair "
    "chose. Change of their log-prob against the start model under the prompt the policy was trained on: the "
    "completion's own proxy score as the goal for reward-augmented policies, no goal for plain DPO. Bars: 95 % "
    "intervals over prompts."
)

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
        out: folder; gets report.html, goal_response.svg, results.json, the completions and the four policies.
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
    # Small batches: log-probs of answers are computed while two models lie in memory.
    start_engine = Local(model=settings.model, batch_tokens=4096).open()
    start, answer_s = _answer_without_goals(start_engine, settings, progress)
    size = _choose_size(settings, out, began, answer_s, progress)
    settings = settings.model_copy(update={"prompts": size.prompts, "held_out": size.held_out})
    completions = load_training_completions(settings, out, progress)
    scored = RulesScorer().score(completions)
    pairs = pair_extremes(scored)
    arms = list_arms(settings)
    trained: dict[str, TrainReport] = {}
    for arm in arms:
        train = build_train_settings(settings, arm)
        trained[arm.key] = train_on(relabel_for(arm, pairs), train, out / arm.key, progress=progress)
    prompts = draw_tasks(settings.held_out, seed=settings.seed + 1, held_out=True)
    start = start.filter(pl.col("prompt_id").is_in(prompts["prompt_id"].implode()))
    # The same answers for every policy, so that their changes can be compared.
    good = _pick_good_unchosen(scored.frame, pairs.frame, settings)
    answers, tops, changes = {}, [], []
    for arm in arms:
        engine = Local(model=str(out / arm.key / "model"), batch_tokens=4096).open()
        goals = (max(settings.goals),) if arm.small else settings.goals
        answers[arm.key] = answer_held_out(engine, prompts, settings, progress, goals=goals)
        with phase(progress, f"log-probs of answers: {arm.name}"):
            tops.append(_measure_top(arm, answers[arm.key], engine, start_engine))
            changes += _measure_unlearning(arm, good, engine, start_engine)
    findings = Findings(
        {key: measure_following(answers[key]) for key in ("augmented", "plain")},
        measure_slope_gap(answers["augmented"], answers["plain"]),
        tops,
        changes,
        {name: float(str(start[column].mean())) for name, column in (("proxy", "score"), ("gold", "gold"))},
    )
    follows, sentences = state_verdict(findings.followings, findings.gap, tops, changes, answers, findings.start)
    facts = _gather_facts(settings, trained, len(pairs), time.monotonic() - began)
    facts |= {"reduced": size.reduced, "start": findings.start, "follows": follows, "verdict": sentences}
    write_atomically(out / "report.html", render_demo(findings, answers, facts))
    write_atomically(out / "goal_response.svg", draw_goal_response(findings))
    write_atomically(out / "results.json", json.dumps(record_findings(findings, facts), indent=2) + "\n")
    for key, frame in answers.items():
        frame.write_parquet(out / f"answers_{key}.parquet")
    return DemoReport(str(out / "report.html"), follows, sentences, time.monotonic() - began, size.reduced)


def _answer_without_goals(engine: LocalEngine, settings: Demo, progress: Progress | None) -> tuple[pl.DataFrame, float]:
    """Let the start model answer the held-out prompts; returns the answers and the seconds that each one took."""
    prompts = draw_tasks(settings.held_out, seed=settings.seed + 1, held_out=True)
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
        # The two policies at the tuned beta answer for every goal, the other two for the top one.
        answers = settings.samples_per_goal * 2 * (len(settings.goals) + 1)
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

    arms = list_arms(settings)
    shipped = load_training_completions(settings.model_copy(update={"fresh": False}), Path(), None)
    pairs = relabel_for(arms[0], pair_extremes(RulesScorer().score(shipped)))
    taken = forecast_policy(pairs.frame.to_arrow(), build_train_settings(settings, arms[0]), say=SAY)
    training, reference = (taken.seconds.get(part, 0.0) for part in ("training", "reference"))
    # Both betas train on the same texts: the second finds the reference's log-probs in the cache.
    both = (1 + _PLAIN_SHARE) * (2 * training + reference)
    # Every policy and the start model, on good training answers and on answers to held-out prompts.
    scored_tokens = len(arms) * 2 * (_MOST_GOOD + settings.held_out * settings.samples_per_goal) * _SCORED_TOKENS
    logps = reference * scored_tokens / max(1, taken.tokens["packed"])
    drawn = settings.prompts * settings.samples * answer_s if settings.fresh else 0.0
    return DemoPace(both + drawn, answer_s, logps)


def _check_installed() -> None:
    import importlib.util

    for library, extra in (("torch", "train"), ("gguf", "demo"), ("matplotlib", "demo")):
        if importlib.util.find_spec(library) is None:
            raise MissingExtra(library, extra)


def _pick_good_unchosen(scored: pl.DataFrame, pairs: pl.DataFrame, settings: Demo) -> list[dict[str, Any]]:
    """Pick whole answers to training prompts that are good by the gold score and that no pair chose."""
    tasks = draw_tasks(settings.prompts, seed=PROMPTS_SEED).select("prompt_id", "task")
    gold = with_gold(scored.drop("task", strict=False).join(tasks, on="prompt_id", maintain_order="left"))
    won = pairs["chosen"].list.eval(pl.element().struct.field("content")).list.join("\n")
    text = gold["completion"].list.eval(pl.element().struct.field("content")).list.join("\n")
    whole = gold["finish_reason"] != "length"
    good = gold.filter((gold["gold"] >= GOOD) & whole & ~text.is_in(won.implode())).head(_MOST_GOOD)
    return good.select("prompt", "completion", "score", "prompt_id").to_dicts()


def _measure_unlearning(
    arm: Arm, good: Sequence[Mapping[str, Any]], engine: LocalEngine, start: LocalEngine
) -> list[Unlearning]:
    """Compare log-probs of good unchosen answers under the policy and the start model; empty where there are none."""
    if not good:
        return []
    augmented = arm.kind == "augmented"
    # Policies are asked as they were trained: with the answer's own score, or with nothing said.
    requests = [Request(state_goal(row["prompt"], row["score"] if augmented else None), goal=False) for row in good]
    completions = [row["completion"] for row in good]
    before, after = (each.logprob_of(requests, completions) for each in (start, engine))
    return [measure_unlearning(arm.name, before, after, [row["prompt_id"] for row in good])]


def _measure_top(arm: Arm, answers: pl.DataFrame, engine: LocalEngine, start: LocalEngine) -> TopScore:
    """Measure scores and KL of a policy's answers for the top goal.

    Answers are drawn at temperature 0.8 from a nucleus, so that the log-ratio is an estimate of the KL with a small
    bias, the same for every policy; of an answer that the token limit cut, an end of turn is counted too.
    """
    top = answers.filter(pl.col("goal") == pl.col("goal").max())
    rows = top.select("prompt", "goal", "completion").to_dicts()
    requests = [Request(state_goal(row["prompt"], row["goal"]), goal=False) for row in rows]
    completions = [row["completion"] for row in rows]
    return measure_top(arm, top, *(each.logprob_of(requests, completions) for each in (engine, start)))


def _gather_facts(settings: Demo, trained: Mapping[str, TrainReport], pairs: int, seconds: float) -> dict[str, Any]:
    report = trained["augmented"]
    return {
        "model": settings.model,
        "pairs": pairs,
        "steps": report.steps,
        "held_out": settings.held_out,
        "samples_per_prompt": settings.samples_per_goal,
        "version": prefboost.__version__,
        "machine": f"{platform.machine()}, {usable_cores()} cores, {report.precision}",
        "settings": [(name, str(value)) for name, value in settings.model_dump().items()],
        "method": _METHOD,
        "unlearning_caption": _UNLEARNING,
        "cost": f"This run took {seconds / 60:.1f} minutes; training: "
        + ", ".join(f"{arm.name} {trained[arm.key].seconds:.0f} s" for arm in list_arms(settings))
        + ".",
    }
