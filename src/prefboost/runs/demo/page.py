"""The demo's report: numbers turned into the values of its HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from prefboost.chat import format_number, join_text
from prefboost.reporting.figures import Curve, FrontierPoint, plot_bars, plot_frontier, plot_goal_response
from prefboost.reporting.page import render_page
from prefboost.runs.demo.arms import NAMES
from prefboost.runs.demo.measure import Following, TopScore, Unlearning
from prefboost.statistics import Interval

__all__ = ["Findings", "draw_goal_response", "render_demo"]

SEEDS = (
    "At full size two seeds were measured. Gold score at the top goal, augmented less plain DPO: at beta 0.2 "
    "+1.24 [+0.23, +2.32] and +1.24 [+0.37, +2.10]; at beta 0.03 -0.86 [-1.88, +0.15] and +0.45 [-0.52, +1.42] "
    "(docs/log.md, 2026-11-29)."
)
"""Sentence on several seeds, from docs/log.md."""

_CSS = {"augmented": "ra", "plain": "dpo"}
_SAMPLES = 4


@dataclass(frozen=True)
class Findings:
    """Figures that a run of the demo measured.

    Args:
        followings: ``augmented`` and ``plain`` -> score by goal, at the tuned beta.
        tops: every policy at the top goal.
        changes: log-prob changes of good answers that no pair chose, one per policy.
        start: mean ``proxy`` and ``gold`` score of the start model.
    """

    followings: Mapping[str, Following]
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


def render_demo(findings: Findings, scored: Mapping[str, pl.DataFrame], facts: Mapping[str, Any]) -> str:
    """Render the whole page.

    Args:
        findings: the figures.
        scored: key of an arm -> its scored completions on held-out prompts.
        facts: what the run knows of itself; keys as in the template ``demo.html``.
    """
    panels = {
        f"{title} score": [FrontierPoint(top.arm.name, top.kl, getattr(top, title)) for top in findings.tops]
        for title in ("proxy", "gold")
    }
    starts = {f"{title} score": findings.start[title] for title in ("proxy", "gold")}
    changes = {change.policy: change.change for change in findings.changes}
    figures = {
        "goal_response": draw_goal_response(findings),
        "frontier": plot_frontier(panels, starts=starts),
        "unlearning": plot_bars(changes, label="change of log-prob, nats per completion")
        if changes
        else "<p>There were no such completions.</p>",
    }
    checks = sorted(name.removeprefix("gold.") for name in scored["augmented"].columns if name.startswith("gold."))
    goal = max(findings.followings["augmented"].by_goal)
    answers = {name: scored[name] for name in findings.followings}
    values = {
        **facts,
        "checks": checks,
        "tops": [
            _describe_top(top, scored[top.arm.key].filter(pl.col("goal") == goal), checks) for top in findings.tops
        ],
        "rows": [row for name in answers for row in _list_rows(name, findings.followings[name], answers[name])],
        "samples": _pick_samples(answers),
        "seeds": SEEDS,
    }
    return render_page("demo.html", values, figures=figures)


def _describe_top(top: TopScore, answers: pl.DataFrame, checks: Sequence[str]) -> dict[str, Any]:
    return {
        "policy": top.arm.name,
        "css": _CSS[top.arm.kind],
        **{name: getattr(top, name).format() for name in ("kl", "proxy", "gold")},
        "tokens": f"{float(str(answers['completion_tokens'].mean())):.0f}",
        "cut": f"{(answers['finish_reason'] == 'length').sum() / answers.height:.0%}",
        "checks": [f"{answers[f'gold.{check}'].sum() / answers.height:.0%}" for check in checks],
    }


def _list_rows(name: str, following: Following, scored: pl.DataFrame) -> list[dict[str, Any]]:
    rows = []
    for goal, proxy in sorted(following.by_goal.items()):
        answers = scored.filter(pl.col("goal") == goal)
        rows.append(
            {
                "policy": NAMES[name],
                "css": _CSS[name],
                "goal": format_number(goal),
                "score": f"{proxy.estimate:.2f}",
                "interval": _format_ends(proxy),
                "gold": f"{following.gold_by_goal[goal].estimate:.2f}",
                "gold_interval": _format_ends(following.gold_by_goal[goal]),
                "tokens": f"{answers['completion_tokens'].sum() / answers.height:.0f}",
                "cut": f"{(answers['finish_reason'] == 'length').sum() / answers.height:.0%}",
            }
        )
    return rows


def _format_ends(at: Interval) -> str:
    return f"{at.low:.2f} to {at.high:.2f}"


def _pick_samples(scored: Mapping[str, pl.DataFrame]) -> list[dict[str, Any]]:
    """Show the answers to the first prompts: nothing is picked by hand."""
    prompts = scored["augmented"]["prompt_id"].unique(maintain_order=True).to_list()[:_SAMPLES]
    samples = []
    for prompt_id in prompts:
        lines: dict[float, dict[str, str]] = {}
        question = ""
        for name, frame in scored.items():
            answers = frame.filter(pl.col("prompt_id") == prompt_id).unique("goal", keep="first", maintain_order=True)
            for row in answers.sort("goal").iter_rows(named=True):
                line = lines.setdefault(row["goal"], {"goal": format_number(row["goal"])})
                line[_CSS[name]] = join_text(row["completion"])
                line[f"{_CSS[name]}_score"] = f"{row['score']:.1f} / {row['gold']:.1f}"
                question = row["question"]
        samples.append({"prompt": question, "lines": [lines[goal] for goal in sorted(lines)]})
    return samples
