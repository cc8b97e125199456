"""The demo's report: its figures as JSON values, and the page made of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from prefboost.chat import format_number
from prefboost.reporting.figures import Curve, plot_goal_response
from prefboost.reporting.report_page import ReportPage, render_report
from prefboost.reporting.run.comparison import build_demo_sections
from prefboost.reporting.samples import choose_completions, collect_samples
from prefboost.reporting.sections import ReportColumn, ReportTable, Section, number_columns
from prefboost.runs.demo.arms import NAMES
from prefboost.runs.demo.measure import GoalDependence, SlopeGap, TopScore, Unlearning

__all__ = ["Findings", "draw_goal_response", "list_goals_table", "list_tops_table", "record_findings", "render_demo"]

SEEDS = (
    "One seed proves nothing: intervals here are over prompts alone, and another seed of training moves a policy "
    "further than they tell. At full size three seeds were measured. Gold score at the top goal, augmented less plain "
    "DPO, over seeds and prompts: at beta 0.2 +1.00 [-0.16, +2.20], at beta 0.03 -0.24 [-1.36, +1.19], so that neither "
    "is shown (docs/log.md, 2026-11-29)."
)
"""Remark on several seeds, from docs/log.md."""

_RECORDED = ("model", "pairs", "steps", "held_out", "start", "machine", "reduced", "settings", "unlearning_caption")
"""Facts that results.json holds."""


@dataclass(frozen=True)
class Findings:
    """Figures that a run of the demo measured.

    Args:
        followings: ``augmented`` and ``plain`` -> score by goal, at the tuned beta.
        gap: how much more the augmented one depends on the goal.
        tops: every policy at the top goal.
        changes: log-prob changes of good answers that no pair chose, one per policy.
        start: mean ``proxy`` and ``gold`` score of the start model.
    """

    followings: Mapping[str, GoalDependence]
    gap: SlopeGap
    tops: Sequence[TopScore]
    changes: Sequence[Unlearning]
    start: Mapping[str, float]


def draw_goal_response(findings: Findings) -> str:
    """Draw requested against achieved score of both policies at the tuned beta, proxy and gold, as SVG."""
    followings = findings.followings
    curves = [
        Curve(f"{NAMES[name]}, proxy score", dict(sorted(following.by_goal.items())))
        for name, following in followings.items()
    ]
    gold = [
        Curve(f"{NAMES[name]}, gold score", dict(sorted(following.gold_by_goal.items())))
        for name, following in followings.items()
    ]
    return plot_goal_response([*curves, *gold], start=findings.start["proxy"])


def record_findings(findings: Findings, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON form, which results.json holds and `prefboost report` reads.

    Args:
        findings: the figures.
        facts: what the run knows of itself, with ``follows`` and ``verdict``.
    """
    return {
        "follows": facts["follows"],
        "verdict": list(facts["verdict"]),
        "policies": {
            name: {
                "slope": asdict(each.slope),
                "by_goal": {f"{goal:g}": asdict(at) for goal, at in sorted(each.by_goal.items())},
                "gold_slope": asdict(each.gold_slope),
                "gold_by_goal": {f"{goal:g}": asdict(at) for goal, at in sorted(each.gold_by_goal.items())},
            }
            for name, each in findings.followings.items()
        },
        "slope_difference": asdict(findings.gap),
        "top": {
            top.arm.key: {**asdict(top), "arm": {**asdict(top.arm), "name": top.arm.name}} for top in findings.tops
        },
        "unlearning": {change.policy: asdict(change.change) for change in findings.changes},
        "facts": {key: facts[key] for key in _RECORDED},
    }


def render_demo(findings: Findings, scored: Mapping[str, pl.DataFrame], facts: Mapping[str, Any]) -> str:
    """Render the page.

    Args:
        findings: the figures.
        scored: key of an arm -> its scored completions on held-out prompts.
        facts: what the run knows of itself.
    """
    tables = {
        "Score against KL": list_tops_table(findings, scored),
        "Goal response": list_goals_table(findings, scored),
    }
    sections = [
        Section(each.title, each.notes, plots=each.plots, tables=(tables[each.title],) if each.title in tables else ())
        for each in build_demo_sections({"demo": record_findings(findings, facts)})
    ]
    answers = {NAMES[name]: scored[name] for name in findings.followings}
    prompts = max(frame["prompt_id"].n_unique() for frame in answers.values())
    samples = collect_samples([(choose_completions(answers, "held-out prompts", prompts), prompts)])
    training = f"{facts['pairs']} preference pairs, {facts['steps']} optimiser steps per policy"
    held_out = f"{facts['held_out']} held-out prompts × {facts['samples_per_prompt']} completions"
    settings = ReportTable((ReportColumn("setting"), ReportColumn("value")), tuple(facts["settings"]))
    page = ReportPage(
        title="Does the policy give the score it is asked for?",
        about=f"{facts['model']} · {training} · {held_out} · {facts['machine']}",
        verdict=facts["verdict"],
        remarks=[text for text in (facts["reduced"], SEEDS) if text],
        sections=[
            *sections,
            Section("Completions side by side", ("Scores are proxy scores.",), samples=samples),
            Section("How this was made", (facts["method"], facts["cost"]), tables=(settings,)),
        ],
    )
    return render_report(page)


def list_tops_table(findings: Findings, scored: Mapping[str, pl.DataFrame]) -> ReportTable:
    """List every policy at the top goal: KL, both scores, length, and the share of answers that pass each check."""
    frame = scored["augmented"]
    checks = sorted(name.removeprefix("gold.") for name in frame.columns if name.startswith("gold."))
    goal = max(findings.followings["augmented"].by_goal)
    rows = []
    for top in findings.tops:
        answers = scored[top.arm.key].filter(pl.col("goal") == goal)
        figures = (getattr(top, name).format() for name in ("kl", "proxy", "gold"))
        shares = (f"{answers[f'gold.{check}'].sum() / answers.height:.0%}" for check in checks)
        rows.append((top.arm.name, *figures, *_describe_lengths(answers), *shares))
    columns = number_columns("KL, nats", "proxy score", "gold score", "tokens", "cut at limit", *checks)
    caption = "the last columns are the share of answers that pass each check of the gold score"
    return ReportTable((ReportColumn("policy"), *columns), tuple(rows), caption=caption)


def list_goals_table(findings: Findings, scored: Mapping[str, pl.DataFrame]) -> ReportTable:
    """List proxy and gold score of both policies at the tuned beta, by goal."""
    rows = [
        (NAMES[name], format_number(goal), proxy.format(), following.gold_by_goal[goal].format(),
         *_describe_lengths(scored[name].filter(pl.col("goal") == goal)))
        for name, following in findings.followings.items()
        for goal, proxy in sorted(following.by_goal.items())
    ]  # fmt: skip
    columns = number_columns("goal", "proxy score", "gold score", "tokens", "cut at limit")
    return ReportTable((ReportColumn("policy"), *columns), tuple(rows))


def _describe_lengths(answers: pl.DataFrame) -> Iterator[str]:
    """Yield mean tokens of answers, and the share that the token limit cut."""
    yield f"{answers['completion_tokens'].sum() / answers.height:.0f}"
    yield f"{(answers['finish_reason'] == 'length').sum() / answers.height:.0%}"
