"""Sections of an evaluation's report that its results tell: figures, groups, goals, what is missing, cost, settings."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

from prefboost.chat import format_number
from prefboost.evaluation.results import Figure, Results
from prefboost.reporting.figures import Curve
from prefboost.reporting.sections import Column, Lines, Mark, Section, Strip, Table
from prefboost.statistics import Interval, measure_separability

__all__ = [
    "NONE",
    "asked_of",
    "cost_section",
    "figures_section",
    "goals_section",
    "groups_section",
    "missing_section",
    "named",
    "ranked",
    "run_of",
    "run_section",
    "said",
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


def named(figure: str) -> str:
    """A figure's name in words."""
    return _NAMES.get(figure, figure.replace("_", " "))


def said(value: Interval | None, decimals: int = 2) -> str:
    """A number and its interval; the interval with one digit less, where two are given.

    >>> said(Interval(44.658, 41.04, 48.21, 0.95, 805, 805))
    '44.66 [41.0, 48.2]'
    """
    if value is None:
        return NONE
    return value.format(decimals, end_decimals=max(min(1, decimals), decimals - 1))


def asked_of(label: str) -> tuple[str, float | None]:
    """A contestant's model and the goal that it is asked for, from its name.

    >>> asked_of("mine@10"), asked_of("mine@home")
    (('mine', 10.0), ('mine@home', None))
    """
    name, _, goal = label.rpartition("@")
    try:
        return (name, float(goal)) if name else (label, None)
    except ValueError:
        return label, None


def ranked(results: Results) -> list[str]:
    """Models, best headline figure first; those whose figure is withheld come last."""
    best: dict[str, float] = {}
    for figure in results.figures:
        if figure.model not in best:
            best[figure.model] = figure.value.estimate if figure.value else -math.inf
    return sorted(best, key=lambda model: -best[model])


def figures_section(results: Results) -> Section:
    """Figures of whole benchmarks side by side, a row a model (and a category, where nothing is said of the whole)."""
    whole = [figure for figure in results.figures if not figure.group]
    chosen = [figure for figure in whole or results.figures if figure.name not in _ELSEWHERE]
    groups = list(dict.fromkeys(figure.group for figure in chosen))
    table = {(figure.group, figure.model, figure.name): figure for figure in chosen}
    names = list(dict.fromkeys(figure.name for figure in chosen))
    drawn = [name for name in names if any(one.name == name and one.unit in ("%", "points") for one in chosen)][:2]
    keys = [(group, model) for group in groups for model in ranked(results) if _any(table, group, model)]
    rows, marks = [], []
    for group, model in keys:
        its = [table.get((group, model, name)) for name in names]
        first = next(one for one in its if one)
        counts = (f"{first.value.clusters:,}" if first.value else NONE, f"{first.missing:,} of {first.rows:,}")
        rows.append((model, *([group] if groups != [""] else []), *(_cell(one) for one in its), *counts))
        marks.append(tuple(_marks([table.get((group, model, name)) for name in drawn])))
    units = {figure.name: figure.unit for figure in chosen}
    columns = (
        Column("model"),
        *([Column("category")] if groups != [""] else []),
        *(Column(f"{named(name)}, {units[name]}", number=True) for name in names),
        Column("prompts", number=True),
        Column("verdicts missing", number=True),
    )
    reference = 50.0 if any("win_rate" in name for name in drawn) else None
    unit = units[drawn[0]] if drawn else ""
    strip = Strip(f"{' and '.join(map(named, drawn))}, {unit}", tuple(marks), tuple(map(named, drawn)), reference)
    notes = (*_notes(chosen), *_separated([one for one in chosen if one.name == names[0]]))
    return Section("Figures", notes, tables=(Table(columns, tuple(rows), strip if drawn else None),))


def groups_section(results: Results) -> Section | None:
    """Figures of parts of a benchmark, a column a part; None where the results have none beside the whole."""
    if not any(not figure.group for figure in results.figures):
        return None
    parts = [figure for figure in results.figures if figure.group]
    tables = []
    for name in dict.fromkeys(figure.name for figure in parts):
        own = {(figure.model, figure.group): figure for figure in parts if figure.name == name}
        groups = list(dict.fromkeys(group for _, group in own))
        rows = tuple(
            (model, *(_cell(own.get((model, group))) for group in groups))
            for model in ranked(results)
            if any((model, group) in own for group in groups)
        )
        unit = next(iter(own.values())).unit
        columns = (Column("model"), *(Column(group, number=True) for group in groups))
        tables.append(Table(columns, rows, caption=f"{named(name)}, {unit}"))
    return Section("By category", tables=tuple(tables)) if tables else None


def goals_section(results: Results) -> Section | None:
    """The headline figures against the goal asked for; None where no model was asked for two goals."""
    asked = {label: asked_of(label) for label in results.models}
    names = [name for name, goal in asked.values() if goal is not None]
    swept = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    own = [figure for figure in results.figures if asked[figure.model][0] in swept and not figure.group]
    if not own:
        return None
    shown = [name for name in dict.fromkeys(figure.name for figure in own) if name not in _ELSEWHERE]
    table = {(asked[figure.model], figure.name): figure for figure in own}
    goals = sorted({goal for name, goal in asked.values() if name in swept and goal is not None})
    rows = tuple(
        (name, format_number(goal), *(_cell(table.get(((name, goal), figure))) for figure in shown))
        for name in swept
        for goal in goals
        if ((name, goal), shown[0]) in table
    )
    units = {figure.name: figure.unit for figure in own}
    columns = (Column("model"), Column("goal", True), *(Column(f"{named(one)}, {units[one]}", True) for one in shown))
    drawn = [one for one in shown if units[one] in ("%", "points")][:2]
    curves = [
        Curve(f"{name}, {named(figure)}" if len(drawn) > 1 else name, _points(table, name, figure, goals))
        for name in swept
        for figure in drawn
    ]
    lines = Lines(
        "goal asked for", f"{named(drawn[0]) if len(drawn) == 1 else 'win rate'}, {units[drawn[0]]}", tuple(curves),
        tuple((goal, format_number(goal)) for goal in goals), 50.0 if "win_rate" in drawn[0] else None,
    )  # fmt: skip
    return Section("By the goal asked for", lines=(lines,), tables=(Table(columns, rows),))


def missing_section(results: Results, faults: Mapping[str, Mapping[str, int]]) -> Section | None:
    """What is missing and why; None where nothing is.

    Args:
        results: figures with their bounds.
        faults: model -> reason -> verdicts.
    """
    rows = []
    for model, reasons in faults.items():
        own = [figure for figure in results.figures if figure.model == model]
        withheld = [figure for figure in own if figure.value is None and figure.missing]
        bounds = next((figure.bounds for figure in own if figure.bounds), None)
        between = NONE if bounds is None else f"{bounds[0]:.1f} to {bounds[1]:.1f}"
        for reason, count in reasons.items():
            rows.append((model, reason, f"{count:,}", ", ".join(dict.fromkeys(map(_name, withheld))) or NONE, between))
    if not rows:
        return None
    note = (
        "What is missing counts neither as lost nor as won and is never left out unseen: above 1 % the headline figure "
        "is withheld. The bounds are the figure if every missing verdict was the worst, and if it was the best."
    )
    columns = (Column("model"), Column("reason"), Column("verdicts", True), Column("withheld"), Column("bounds", True))
    return Section("Missing", (note,), tables=(Table(columns, tuple(rows)),))


def cost_section(results: Results) -> Section | None:
    """What was spent; None where the results do not say.

    The fact ``run.cost`` (or ``cost``) holds numbers, or who -> numbers: requests, prompt_tokens, tokens, dollars.
    """
    cost = run_of(results).get("cost", results.facts.get("cost"))
    if not isinstance(cost, Mapping) or not cost:
        return None
    by_whom = cost if all(isinstance(part, Mapping) for part in cost.values()) else {"all": cost}
    names = list(dict.fromkeys(name for part in by_whom.values() for name in part))
    priced = any(part.get("dollars") for part in by_whom.values())
    names = [name for name in names if priced or name != "dollars"]
    rows = tuple((str(who), *(_amount(name, part.get(name)) for name in names)) for who, part in by_whom.items())
    columns = (Column("asked"), *(Column(_AMOUNTS.get(name, name.replace("_", " ")), number=True) for name in names))
    notes = () if priced else ("No prices were given: dollars are not known.",)
    return Section("Cost", notes, tables=(Table(columns, rows),))


def run_section(results: Results) -> Section:
    """What was run: benchmark, mode and every setting."""
    told: dict[str, Any] = {"benchmark": results.benchmark, "mode": results.mode}
    told |= {name: value for name, value in results.facts.items() if name not in (*_APART, "run")}
    told |= {name: results.facts[name] for name in ("rules", "settings") if name in results.facts}
    told |= {name: value for name, value in run_of(results).items() if name not in ("cost", "judge")}
    rows = tuple((name, value) for name, value in _flat(told))
    return Section("What was run", tables=(Table((Column("setting"), Column("value")), rows),))


def run_of(results: Results) -> Mapping[str, Any]:
    """What a run told of itself: models, judge, settings, cost; empty where verdicts were scored without one."""
    run = results.facts.get("run")
    return run if isinstance(run, Mapping) else {}


def _name(figure: Figure) -> str:
    return named(figure.name)


def _any(table: Mapping[tuple[str, str, str], Figure], group: str, model: str) -> bool:
    return any((one, other) == (group, model) for one, other, _ in table)


def _cell(figure: Figure | None) -> str:
    if figure is None or (figure.value is None and not figure.missing):
        return NONE
    if figure.value is None:
        ends = "" if figure.bounds is None else f": {figure.bounds[0]:.1f} to {figure.bounds[1]:.1f}"
        return f"withheld{ends}"
    return said(figure.value, 0 if figure.unit in ("characters", "tokens") else 2)


def _marks(figures: Sequence[Figure | None]) -> Iterator[Mark]:
    for kind, figure in enumerate(figures):
        if figure is not None and figure.value is not None:
            yield Mark(figure.value.low, figure.value.high, figure.value.estimate, kind)
        elif figure is not None and figure.bounds is not None:
            yield Mark(*figure.bounds, None, kind)


def _points(
    table: Mapping[tuple[tuple[str, float | None], str], Figure], name: str, figure: str, goals: Sequence[float]
) -> dict[float, Interval]:
    figures = ((goal, table.get(((name, goal), figure))) for goal in goals)
    return {goal: found.value for goal, found in figures if found is not None and found.value is not None}


def _notes(figures: Sequence[Figure]) -> Iterator[str]:
    told = {f"{named(figure.name)}: {figure.note}.": None for figure in figures if figure.note}
    yield from list(told)[:6]


def _separated(figures: Sequence[Figure]) -> Iterator[str]:
    for group in dict.fromkeys(figure.group for figure in figures):
        told: dict[Hashable, Interval] = {one.model: one.value for one in figures if one.group == group and one.value}
        if len(told) > 2 and not any(math.isnan(one.low) for one in told.values()):
            where = f" in {group}" if group else ""
            apart = measure_separability(told)
            yield f"Separability{where}: the intervals of {apart:.0%} of pairs of models do not overlap."


def _amount(name: str, value: Any) -> str:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return NONE if value is None else str(value)
    return f"${value:,.2f}" if name == "dollars" else f"{value:,.0f}"


def _flat(told: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for name, value in told.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        elif value not in (None, "", []):
            listed = isinstance(value, Sequence) and not isinstance(value, str)
            yield f"{before}{name}", ", ".join(map(str, value)) if listed else str(value)
