"""An evaluation's report: one HTML page without anything outside of it, and the same tables as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import prefboost
from prefboost.evaluation.benchmark import JudgeVerdict
from prefboost.evaluation.results import Results
from prefboost.reporting.charts import COLOURED, drawn_lines, drawn_strip
from prefboost.reporting.evaluation.results import (
    asked_of,
    cost_section,
    figures_section,
    goals_section,
    groups_section,
    missing_section,
    named,
    ranked,
    run_section,
    said,
)
from prefboost.reporting.evaluation.verdicts import (
    baseline_of,
    category_section,
    differences_section,
    faults_of,
    judge_section,
    length_section,
    order_section,
)
from prefboost.reporting.page import render_page
from prefboost.reporting.sections import Section, markdown_of, plain

__all__ = ["Scored", "evaluation_markdown", "evaluation_page"]


@dataclass(frozen=True)
class Scored:
    """One benchmark's outcome.

    Args:
        results: its figures.
        verdicts: what they were computed from; none where nothing was judged.
    """

    results: Results
    verdicts: Sequence[JudgeVerdict] = ()


def evaluation_page(scored: Sequence[Scored]) -> str:
    """The page: every benchmark with its figures, differences, biases, what is missing, cost and settings.

    Args:
        scored: one or more benchmarks.

    Returns:
        HTML with no script and no link; whatever models, prompts and judges said is escaped text.
    """
    parts = [
        {
            "title": _title(one.results),
            "lead": _lead(one.results),
            "alarms": [plain(alarm) for alarm in one.results.alarms],
            "sections": sections_of(one),
        }
        for one in scored
    ]
    draw = {"strip": drawn_strip, "lines": drawn_lines, "plain": plain, "coloured": COLOURED}
    return render_page("evaluation.html", {"parts": parts, "version": prefboost.__version__, **draw})


def evaluation_markdown(scored: Sequence[Scored]) -> str:
    """The same tables as Markdown, alarms first."""
    made = []
    for one in scored:
        alarms = tuple(f"Alarm: {alarm}." for alarm in one.results.alarms)
        head = Section(_title(one.results), (*_lead(one.results), *alarms))
        made.append(markdown_of([head]).removeprefix("#"))
        made.append(markdown_of(sections_of(one)))
    return "\n".join(made)


def sections_of(one: Scored) -> list[Section]:
    """The parts of a report for which there are data, in order."""
    results, verdicts = one.results, one.verdicts
    withheld = {one.model for one in results.figures if one.value is None and one.missing}
    order = [model for model in ranked(results) if model not in withheld]
    comparing = any("win_rate" in figure.name for figure in results.figures)
    found = (
        figures_section(results) if results.figures else None,
        goals_section(results),
        differences_section(results, verdicts, order),
        groups_section(results) or (category_section(verdicts, order) if comparing else None),
        length_section(verdicts, order) if comparing else None,
        order_section(results, verdicts, order) if comparing else None,
        missing_section(results, faults_of(verdicts)),
        judge_section(results, verdicts),
        cost_section(results),
        run_section(results),
    )
    return [section for section in found if section is not None]


def _title(results: Results) -> str:
    return {"alpaca_eval": "AlpacaEval 2", "arena_hard": "Arena-Hard-Auto", "mt_bench": "MT-Bench"}.get(
        results.benchmark, results.benchmark.replace("_", " ").capitalize()
    )


def _lead(results: Results) -> tuple[str, ...]:
    """What is at the top: the best model's headline, or that nothing can be said."""
    models = {asked_of(model)[0] for model in results.models}
    best = next((one for one in results.figures if one.model in ranked(results)[:1] and one.value is not None), None)
    if best is None:
        return ("No headline figure: see what is missing.",)
    versus = "" if "win_rate" not in best.name else f" against {baseline_of(results)}"
    own = [one for one in results.figures if one.model == best.model and one.value is not None]
    raw = next((one for one in own if one.name == "win_rate"), None)
    beside = f", raw {said(raw.value)} %" if raw is not None and raw is not best else ""
    many = "" if len(models) < 2 and len(results.models) < 2 else f"Best of {len(results.models)}: "
    unit = " %" if best.unit == "%" else f" {best.unit}"
    where = f" in {best.group}" if best.group else ""
    return (f"{many}{best.model} has a {named(best.name)} of {said(best.value)}{unit}{where}{versus}{beside}.",)
