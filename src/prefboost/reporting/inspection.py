"""Sections on a data set, from its inspection: rows, scores, goals, lengths, lints, rejected rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from prefboost.chat import format_number
from prefboost.diagnosis import Example, Histogram, Inspection
from prefboost.reporting.plots import Axes, plot_histogram
from prefboost.reporting.sections import ReportColumn, ReportTable, Section, number_columns
from prefboost.reporting.texts import cut_text

__all__ = ["build_goal_spread_section", "build_inspection_sections", "list_findings_tables", "name_bins"]

_SHOWN_CHARACTERS = 160


def build_inspection_sections(inspection: Inspection) -> Iterator[Section]:
    """Build the sections of a data set: rows, scores, lengths, goals, lints, rejects."""
    mapping = ", ".join(f"{part} from {column}" for part, column in inspection.mapping.items() if part != "shape")
    notes = [
        f"{inspection.records:,} records, {inspection.prompts:,} prompts, {inspection.rows:,} rows of "
        f"{inspection.table}.",
        *([f"Read as {inspection.mapping.get('shape', '?')}: {mapping}."] if mapping else []),
    ]
    if inspection.distinct is not None:
        notes.append(f"Scores differ in {inspection.distinct:.1%} of the pairs of a prompt.")
    yield Section("Rows", tuple(notes))
    if inspection.scores:
        rows = tuple(
            (name, f"{at.count:,}", f"{at.missing:,}", f"{at.low:g}", f"{at.mean:.4g}", f"{at.high:g}")
            for name, at in inspection.scores.items()
        )
        columns = (ReportColumn("score"), *number_columns("rows", "missing", "lowest", "mean", "highest"))
        plots = [
            plot_histogram(f"scores-{number}", name, {name: _label_bins(at.histogram)}, Axes(name, "rows"))
            for number, (name, at) in enumerate(inspection.scores.items(), 1)
        ]
        yield Section("Scores", tables=(ReportTable(columns, rows),), plots=tuple(plots))
    if inspection.goals is not None:
        yield build_goal_spread_section(inspection, inspection.goals)
    lengths = tuple(
        (name, unit, *(f"{mark:,.0f}" for mark in (at.mean, at.p5, at.p50, at.p95, at.most)))
        for unit, columns_of in (("characters", inspection.lengths), ("words", inspection.words))
        for name, at in columns_of.items()
    )
    if lengths:
        columns = (
            ReportColumn("column"),
            ReportColumn("unit"),
            *number_columns("mean", "5 %", "50 %", "95 %", "most"),
        )
        yield Section("Lengths", tables=(ReportTable(columns, lengths),))
    tables = tuple(list_findings_tables(inspection, ""))
    yield Section("Lints", () if tables else ("No lint found anything.",), tables=tables)
    rejects = tuple(
        (reason, f"{count:,}", "; ".join(map(_describe_case, inspection.reject_examples.get(reason, ())[:1])))
        for reason, count in inspection.rejects.items()
    )
    if rejects:
        columns = (ReportColumn("reason"), *number_columns("rows"), ReportColumn("first"))
        yield Section("Rejected rows", tables=(ReportTable(columns, rejects),))


def build_goal_spread_section(inspection: Inspection, goals: Histogram) -> Section:
    """Show how the goals are spread: those of goal pairs, else those that pairs would get."""
    title = "Goals" if inspection.views else "Goals that pairs would get"
    filled = f"{goals.count_filled()} of {len(goals.counts)} tenths of the range hold 1 % or more of the rows."
    views = ", ".join(f"{view}: {count:,}" for view, count in inspection.views.items())
    axes = Axes("goal", "rows" if inspection.views else "completions")
    notes = (filled, *([f"Views: {views}."] if views else []))
    return Section("Goals", notes, plots=(plot_histogram("goals", title, {"goals": _label_bins(goals)}, axes),))


def list_findings_tables(inspection: Inspection, caption: str) -> list[ReportTable]:
    """List the findings of lints with their first cases; no table where there are none."""
    rows = tuple(
        (each.severity, each.sentence, f"{each.count:,} of {each.of:,}",
         "; ".join(map(_describe_case, each.examples[:2])), each.remedy)
        for each in inspection.findings
    )  # fmt: skip
    columns = (ReportColumn("severity"), ReportColumn("what"), *number_columns("rows"), ReportColumn("first cases"),
               ReportColumn("what to do"))  # fmt: skip
    return [ReportTable(columns, rows, caption=caption)] if rows else []


def _describe_case(example: Example) -> str:
    where = "" if example.row is None else f"row {example.row}: "
    return f"{where}{cut_text(example.text, _SHOWN_CHARACTERS)}"


def _label_bins(histogram: Histogram) -> dict[str, float]:
    return dict(zip(name_bins(histogram.edges), map(float, histogram.counts), strict=True))


def name_bins(edges: Sequence[float]) -> list[str]:
    """Name bins by their ends, with as many digits as keep them apart."""
    for digits in range(2, 16):
        names = [f"{format_number(float(f'{low:.{digits}g}'))}–{format_number(float(f'{high:.{digits}g}'))}"
                 for low, high in pairwise(edges)]  # fmt: skip
        if len(set(names)) == len(names):
            return names
    return [str(at) for at in range(1, len(edges))]
