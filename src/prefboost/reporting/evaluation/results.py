"""Sections of an evaluation's report from its results: figures, groups, goals, missing verdicts, cost, settings."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

from prefboost.chat import format_number
from prefboost.evaluation.results import Figure, Results
from prefboost.reporting.figures import Curve
from prefboost.reporting.sections import Lines, Mark, ReportColumn, ReportTable, Section, Strip
from prefboost.statistics import Interval, measure_separability

__all__ = [
    "NONE",
    "split_goal",
    "build_cost_section",
    "build_figures_section",
    "build_goals_section",
    "build_groups_section",
    "build_missing_section",
    "name_figure",
    "rank_models",
    "get_run_facts",
    "build_run_section",
    "format_interval",
]

NONE = "–"
"""A cell without a number."""

_NAMES = {
    "lc_win_rate": "length-controlled win rate",
    "discrete_win_rate": "win rate, rounded verdicts",
    "avg_length": "mean length",
}
_ELSEWHERE = ("win_rate_shown_first", "win_rate_shown_second", "consistency")
_AMOUNTS = {"requests": "calls", "prompt_tokens": "tokens read", "tokens": "tokens written"}
_APART = ("cost", "settings", "rules")


def name_figure(figure: str) -> str:
    """Write a figure's name in words."""
    return _NAMES.get(figure, figure.replace("_", " "))


def format_interval(value: Interval | None, decimals: int = 2) -> str:
    """Format a number and its interval, the interval with one digit less where there are two.

    >>> format_interval(Interval(44.658, 41.04, 48.21, 0.95, 805, 805))
    '44.66 [41.0, 48.2]'
    """
    if value is None:
        return NONE
    return value.format(decimals, end_decimals=max(min(1, decimals), decimals - 1))


def split_goal(label: str) -> tuple[str, float | None]:
    """Split the name of a contestant into its model and its goal.

    >>> split_goal("mine@10"), split_goal("mine@home")
    (('mine', 10.0), ('mine@home', None))
    """
    name, _, goal = label.rpartition("@")
    try:
        return (name, float(goal)) if name else (label, None)
    except ValueError:
        return label, None


def rank_models(results: Results) -> list[str]:
    """Rank models by their headline figure, best first; those whose figure is withheld come last."""
    best: dict[str, float] = {}
    for figure in results.figures:
        if figure.model not in best:
            best[figure.model] = figure.value.estimate if figure.value else -math.inf
    return sorted(best, key=lambda model: -best[model])


def build_figures_section(results: Results) -> Section:
    """Build the table of whole benchmarks: one row per model, or per category where the whole has no figure."""
    whole = [figure for figure in results.figures if not figure.group]
    chosen = [figure for figure in whole or results.figures if figure.name not in _ELSEWHERE]
    groups = list(dict.fromkeys(figure.group for figure in chosen))
    table = {(figure.group, figure.model, figure.name): figure for figure in chosen}
    names = list(dict.fromkeys(figure.name for figure in chosen))
    drawn = [
        name for name in names if any(figure.name == name and figure.unit in ("%", "points") for figure in chosen)
    ][:2]
    with_figure = {(figure.group, figure.model) for figure in chosen}
    keys = [(group, model) for group in groups for model in rank_models(results) if (group, model) in with_figure]
    rows, marks = [], []
    for group, model in keys:
        its = [table.get((group, model, name)) for name in names]
        first = next(figure for figure in its if figure)
        counts = (f"{first.value.clusters:,}" if first.value else NONE, f"{first.missing:,} of {first.rows:,}")
        rows.append((model, *([group] if groups != [""] else []), *(_format_cell(figure) for figure in its), *counts))
        marks.append(tuple(_place_marks([table.get((group, model, name)) for name in drawn])))
    units = {figure.name: figure.unit for figure in chosen}
    columns = (
        ReportColumn("model"),
        *([ReportColumn("category")] if groups != [""] else []),
        *(ReportColumn(f"{name_figure(name)}, {units[name]}", number=True) for name in names),
        ReportColumn("prompts", number=True),
        ReportColumn("verdicts missing", number=True),
    )
    reference = 50.0 if any("win_rate" in name for name in drawn) else None
    unit = units[drawn[0]] if drawn else ""
    strip = Strip(
        f"{' and '.join(map(name_figure, drawn))}, {unit}", tuple(marks), tuple(map(name_figure, drawn)), reference
    )
    remarks = dict.fromkeys(f"{name_figure(figure.name)}: {figure.note}." for figure in chosen if figure.note)
    notes = (*list(remarks)[:6], *_describe_separability([figure for figure in chosen if figure.name == names[0]]))
    return Section("Figures", notes, tables=(ReportTable(columns, tuple(rows), strip if drawn else None),))


def build_groups_section(results: Results) -> Section | None:
    """Build the tables of parts of a benchmark, one column per part; None where there are no parts."""
    if not any(not figure.group for figure in results.figures):
        return None
    parts = [figure for figure in results.figures if figure.group]
    tables = []
    for name in dict.fromkeys(figure.name for figure in parts):
        cells = {(figure.model, figure.group): figure for figure in parts if figure.name == name}
        groups = list(dict.fromkeys(group for _, group in cells))
        rows = tuple(
            (model, *(_format_cell(cells.get((model, group))) for group in groups))
            for model in rank_models(results)
            if any((model, group) in cells for group in groups)
        )
        unit = next(iter(cells.values())).unit
        columns = (ReportColumn("model"), *(ReportColumn(group, number=True) for group in groups))
        tables.append(ReportTable(columns, rows, caption=f"{name_figure(name)}, {unit}"))
    return Section("By category", tables=tuple(tables)) if tables else None


def build_goals_section(results: Results) -> Section | None:
    """Build curves and table of headline figures per goal; None where no model was asked for two goals."""
    contestants = {label: split_goal(label) for label in results.models}
    names = [name for name, goal in contestants.values() if goal is not None]
    swept = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    figures = [figure for figure in results.figures if contestants[figure.model][0] in swept and not figure.group]
    if not figures:
        return None
    names_shown = [name for name in dict.fromkeys(figure.name for figure in figures) if name not in _ELSEWHERE]
    table = {(contestants[figure.model], figure.name): figure for figure in figures}
    goals = sorted({goal for name, goal in contestants.values() if name in swept and goal is not None})
    rows = tuple(
        (name, format_number(goal), *(_format_cell(table.get(((name, goal), figure))) for figure in names_shown))
        for name in swept
        for goal in goals
        if ((name, goal), names_shown[0]) in table
    )
    units = {figure.name: figure.unit for figure in figures}
    columns = (
        ReportColumn("model"),
        ReportColumn("goal", True),
        *(ReportColumn(f"{name_figure(name)}, {units[name]}", True) for name in names_shown),
    )
    drawn = [name for name in names_shown if units[name] in ("%", "points")][:2]
    curves = [
        Curve(
            f"{name}, {name_figure(figure)}" if len(drawn) > 1 else name,
            {
                goal: cell.value
                for goal in goals
                if (cell := table.get(((name, goal), figure))) is not None and cell.value is not None
            },
        )
        for name in swept
        for figure in drawn
    ]
    name = name_figure(drawn[0]) if len(drawn) == 1 else "win rate"
    lines = Lines(
        "goal asked for", f"{name}, {units[drawn[0]]}", tuple(curves),
        tuple((goal, format_number(goal)) for goal in goals), 50.0 if "win_rate" in drawn[0] else None,
    )  # fmt: skip
    return Section("By the goal asked for", lines=(lines,), tables=(ReportTable(columns, rows),))


def build_missing_section(results: Results, faults: Mapping[str, Mapping[str, int]]) -> Section | None:
    """Build the table of missing verdicts and their reasons; None where nothing is missing.

    Args:
        results: figures with their bounds.
        faults: model -> reason -> number of verdicts.
    """
    rows = []
    for model, reasons in faults.items():
        figures = [figure for figure in results.figures if figure.model == model]
        withheld = [figure for figure in figures if figure.value is None and figure.missing]
        bounds = next((figure.bounds for figure in figures if figure.bounds), None)
        between = NONE if bounds is None else f"{bounds[0]:.1f} to {bounds[1]:.1f}"
        names = ", ".join(dict.fromkeys(name_figure(figure.name) for figure in withheld))
        for reason, count in reasons.items():
            rows.append((model, reason, f"{count:,}", names or NONE, between))
    if not rows:
        return None
    note = (
        "What is missing counts neither as lost nor as won and is never left out unseen: above 1 % the headline figure "
        "is withheld. The bounds are the figure if every missing verdict was the worst, and if it was the best."
    )
    columns = (
        ReportColumn("model"),
        ReportColumn("reason"),
        ReportColumn("verdicts", True),
        ReportColumn("withheld"),
        ReportColumn("bounds", True),
    )
    return Section("Missing", (note,), tables=(ReportTable(columns, tuple(rows)),))


def build_cost_section(results: Results) -> Section | None:
    """Build the table of cost; None where the results have none.

    The fact ``run.cost`` (or ``cost``) holds numbers, or name -> numbers: requests, prompt_tokens, tokens, dollars.
    """
    cost = get_run_facts(results).get("cost", results.facts.get("cost"))
    if not isinstance(cost, Mapping) or not cost:
        return None
    by_whom = cost if all(isinstance(part, Mapping) for part in cost.values()) else {"all": cost}
    names = list(dict.fromkeys(name for part in by_whom.values() for name in part))
    priced = any(part.get("dollars") for part in by_whom.values())
    names = [name for name in names if priced or name != "dollars"]
    rows = tuple((str(who), *(_format_amount(name, part.get(name)) for name in names)) for who, part in by_whom.items())
    columns = (
        ReportColumn("asked"),
        *(ReportColumn(_AMOUNTS.get(name, name.replace("_", " ")), number=True) for name in names),
    )
    notes = () if priced else ("No prices were given: dollars are not known.",)
    return Section("Cost", notes, tables=(ReportTable(columns, rows),))


def build_run_section(results: Results) -> Section:
    """Build the table of benchmark, mode and every setting."""
    settings: dict[str, Any] = {"benchmark": results.benchmark, "mode": results.mode}
    settings |= {name: value for name, value in results.facts.items() if name not in (*_APART, "run")}
    settings |= {name: results.facts[name] for name in ("rules", "settings") if name in results.facts}
    settings |= {name: value for name, value in get_run_facts(results).items() if name not in ("cost", "judge")}
    rows = tuple((name, value) for name, value in _flatten(settings))
    return Section("What was run", tables=(ReportTable((ReportColumn("setting"), ReportColumn("value")), rows),))


def get_run_facts(results: Results) -> Mapping[str, Any]:
    """Return models, judge, settings and cost of a run; empty where verdicts were scored without one."""
    run = results.facts.get("run")
    return run if isinstance(run, Mapping) else {}


def _format_cell(figure: Figure | None) -> str:
    if figure is None or (figure.value is None and not figure.missing):
        return NONE
    if figure.value is None:
        ends = "" if figure.bounds is None else f": {figure.bounds[0]:.1f} to {figure.bounds[1]:.1f}"
        return f"withheld{ends}"
    return format_interval(figure.value, 0 if figure.unit in ("characters", "tokens") else 2)


def _place_marks(figures: Sequence[Figure | None]) -> Iterator[Mark]:
    for kind, figure in enumerate(figures):
        if figure is not None and figure.value is not None:
            yield Mark(figure.value.low, figure.value.high, figure.value.estimate, kind)
        elif figure is not None and figure.bounds is not None:
            yield Mark(*figure.bounds, None, kind)


def _describe_separability(figures: Sequence[Figure]) -> Iterator[str]:
    for group in dict.fromkeys(figure.group for figure in figures):
        intervals: dict[Hashable, Interval] = {
            figure.model: figure.value for figure in figures if figure.group == group and figure.value
        }
        if len(intervals) > 2 and not any(math.isnan(figure.low) for figure in intervals.values()):
            where = f" in {group}" if group else ""
            share = measure_separability(intervals)
            yield f"Separability{where}: the intervals of {share:.0%} of pairs of models do not overlap."


def _format_amount(name: str, value: Any) -> str:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return NONE if value is None else str(value)
    return f"${value:,.2f}" if name == "dollars" else f"{value:,.0f}"


def _flatten(settings: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{before}{name}.")
        elif value not in (None, "", []):
            listed = isinstance(value, Sequence) and not isinstance(value, str)
            yield f"{before}{name}", ", ".join(map(str, value)) if listed else str(value)
