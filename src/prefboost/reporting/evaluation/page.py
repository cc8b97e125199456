"""An evaluation's report: one HTML page without anything outside of it, and the same tables as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import prefboost
from prefboost.evaluation.benchmark import JudgeVerdict
from prefboost.evaluation.results import Results
from prefboost.reporting.evaluation.results import (
    build_cost_section,
    build_figures_section,
    build_goals_section,
    build_groups_section,
    build_missing_section,
    build_run_section,
    format_interval,
    name_figure,
    rank_models,
    split_goal,
)
from prefboost.reporting.evaluation.verdicts import (
    build_category_section,
    build_differences_section,
    build_judge_section,
    build_length_section,
    build_order_section,
    count_faults,
    name_baseline,
)
from prefboost.reporting.page import render_page
from prefboost.reporting.sections import Section, write_markdown
from prefboost.reporting.texts import flatten_text

__all__ = ["ScoredBenchmark", "build_sections", "render_evaluation_page", "write_evaluation_markdown", "write_lead"]


@dataclass(frozen=True)
class ScoredBenchmark:
    """One benchmark's outcome.

    Args:
        results: its figures.
        verdicts: verdicts behind them; none where nothing was judged.
    """

    results: Results
    verdicts: Sequence[JudgeVerdict] = ()


def render_evaluation_page(scored: Sequence[ScoredBenchmark]) -> str:
    """Render the page: figures, differences, biases, missing verdicts, cost and settings of every benchmark.

    Args:
        scored: benchmark or more benchmarks.

    Returns:
        HTML with no script and no link; texts of models, prompts and judges are escaped.
    """
    parts = [
        {
            "title": _write_title(benchmark.results),
            "lead": write_lead(benchmark.results),
            "alarms": [flatten_text(alarm) for alarm in benchmark.results.alarms],
            "sections": build_sections(benchmark),
        }
        for benchmark in scored
    ]
    return render_page("evaluation.html", {"parts": parts, "version": prefboost.__version__})


def write_evaluation_markdown(scored: Sequence[ScoredBenchmark]) -> str:
    """Write the same tables as Markdown, alarms first."""
    parts = []
    for benchmark in scored:
        alarms = tuple(f"Alarm: {alarm}." for alarm in benchmark.results.alarms)
        head = Section(_write_title(benchmark.results), (*write_lead(benchmark.results), *alarms))
        parts.append(write_markdown([head]).removeprefix("#"))
        parts.append(write_markdown(build_sections(benchmark)))
    return "\n".join(parts)


def build_sections(benchmark: ScoredBenchmark) -> list[Section]:
    """Build the sections for which there are data, in order."""
    results, verdicts = benchmark.results, benchmark.verdicts
    withheld = {figure.model for figure in results.figures if figure.value is None and figure.missing}
    order = [model for model in rank_models(results) if model not in withheld]
    comparing = any("win_rate" in figure.name for figure in results.figures)
    sections = (
        build_figures_section(results) if results.figures else None,
        build_goals_section(results),
        build_differences_section(results, verdicts, order),
        build_groups_section(results) or (build_category_section(verdicts, order) if comparing else None),
        build_length_section(verdicts, order) if comparing else None,
        build_order_section(results, verdicts, order) if comparing else None,
        build_missing_section(results, count_faults(verdicts)),
        build_judge_section(results, verdicts),
        build_cost_section(results),
        build_run_section(results),
    )
    return [section for section in sections if section is not None]


def _write_title(results: Results) -> str:
    return {"alpaca_eval": "AlpacaEval 2", "arena_hard": "Arena-Hard-Auto", "mt_bench": "MT-Bench"}.get(
        results.benchmark, results.benchmark.replace("_", " ").capitalize()
    )


def write_lead(results: Results) -> tuple[str, ...]:
    """Write the sentence at the top: the best model's headline, or that there is none."""
    models = {split_goal(model)[0] for model in results.models}
    best = next(
        (figure for figure in results.figures if figure.model in rank_models(results)[:1] and figure.value is not None),
        None,
    )
    if best is None:
        return ("No headline figure: see what is missing.",)
    versus = "" if "win_rate" not in best.name else f" against {name_baseline(results)}"
    figures = [figure for figure in results.figures if figure.model == best.model and figure.value is not None]
    raw = next((figure for figure in figures if figure.name == "win_rate"), None)
    beside = f", raw {format_interval(raw.value)} %" if raw is not None and raw is not best else ""
    many = "" if len(models) < 2 and len(results.models) < 2 else f"Best of {len(results.models)}: "
    unit = " %" if best.unit == "%" else f" {best.unit}"
    where = f" in {best.group}" if best.group else ""
    value = f"{name_figure(best.name)} of {format_interval(best.value)}{unit}"
    return (f"{many}{best.model} has a {value}{where}{versus}{beside}.",)
