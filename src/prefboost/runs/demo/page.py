"""The demo's report: numbers turned into the values of its HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from prefboost.chat import format_number, join_text
from prefboost.reporting.figures import Curve, plot_bars, plot_goal_response
from prefboost.reporting.page import render_page
from prefboost.runs.demo.measure import Following, Unlearning
from prefboost.statistics import Interval

__all__ = ["NAMES", "render_demo", "draw_goal_response"]

NAMES = {"augmented": "reward-augmented", "plain": "plain DPO"}
"""Names of the two policies in the report."""

_CSS = {"augmented": "ra", "plain": "dpo"}
_SAMPLES = 4


def draw_goal_response(followings: Mapping[str, Following], start: float | None) -> str:
    """Draw requested against achieved score, as SVG."""
    curves = [Curve(NAMES[name], dict(sorted(following.by_goal.items()))) for name, following in followings.items()]
    return plot_goal_response(curves, start=start)


def render_demo(
    followings: Mapping[str, Following],
    scored: Mapping[str, pl.DataFrame],
    changes: Sequence[Unlearning],
    facts: Mapping[str, Any],
) -> str:
    """Render the whole page.

    Args:
        found: policy -> how it follows.
        scored: policy -> its scored completions on held-out prompts.
        changes: log-prob changes of well-scored rejected completions.
        facts: what the run knows of itself; keys as in the template ``demo.html``, and ``start`` (mean score).
    """
    figures = {
        "goal_response": draw_goal_response(followings, facts.get("start")),
        "unlearning": _draw_changes(changes) if changes else "<p>There were no such completions.</p>",
    }
    kinds = sorted(name.removeprefix("score.") for name in scored["augmented"].columns if name.startswith("score."))
    values = {
        **facts,
        "rules": [kind.replace("_", " ") for kind in kinds],
        "rows": [row for name in followings for row in _list_rows(name, followings[name], scored[name], kinds)],
        "samples": _pick_samples(scored),
    }
    return render_page("demo.html", values, figures=figures)


def _draw_changes(changes: Sequence[Unlearning]) -> str:
    return plot_bars(
        {change.policy: change.change for change in changes}, label="change of log-prob, nats per completion"
    )


def _list_rows(name: str, following: Following, scored: pl.DataFrame, kinds: Sequence[str]) -> list[dict[str, Any]]:
    rows = []
    for goal, at in sorted(following.by_goal.items()):
        mine = scored.filter(pl.col("goal") == goal)
        cut = (mine["finish_reason"] == "length").sum() / max(1, mine.height)
        rows.append(
            {
                "policy": NAMES[name],
                "css": _CSS[name],
                "goal": format_number(goal),
                "score": f"{at.estimate:.2f}",
                "interval": _format_ends(at),
                "tokens": f"{mine['completion_tokens'].sum() / max(1, mine.height):.0f}",
                "cut": f"{cut:.0%}",
                "rules": [_format_share(mine[f"score.{kind}"]) for kind in kinds],
            }
        )
    return rows


def _format_share(scores: pl.Series) -> str:
    """Format the share of completions that keep a rule; aspect scores are 1 (broken) or 10 (kept)."""
    scored = scores.drop_nulls()
    return "–" if scored.is_empty() else f"{(scored > 5.5).sum() / scored.len():.0%}"


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
            mine = frame.filter(pl.col("prompt_id") == prompt_id).unique("goal", keep="first", maintain_order=True)
            for row in mine.sort("goal").iter_rows(named=True):
                line = lines.setdefault(row["goal"], {"goal": format_number(row["goal"])})
                line[_CSS[name]] = join_text(row["completion"])
                line[f"{_CSS[name]}_score"] = format_number(row["score"])
                question = row["question"]
        samples.append({"prompt": question, "lines": [lines[goal] for goal in sorted(lines)]})
    return samples
