"""Content of a report, as data: sections of notes, tables and curves, which a page and a Markdown file show alike."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from prefboost.reporting.figures import Curve
from prefboost.reporting.plots import Axes, IntervalPoint, Plot, plot_interval_rows, plot_intervals
from prefboost.reporting.samples import Samples
from prefboost.reporting.texts import flatten_text
from prefboost.statistics import Interval

__all__ = [
    "ReportColumn",
    "Lines",
    "Mark",
    "Section",
    "Strip",
    "COLOURED",
    "ReportTable",
    "number_columns",
    "plot_lines",
    "plot_strips",
    "write_markdown",
]

COLOURED = 6
"""Curves with a colour and a place in the legend; a page draws the rest faintly, for the spread."""

MOST_ROWS = 40
"""Rows of a table whose strip becomes a figure; of a longer one the strip beside each row is easier to read."""

_MARKUP = re.compile(r"([\\`|<>\[\]*~])")


@dataclass(frozen=True)
class ReportColumn:
    """A column of a table.

    Args:
        name: its heading.
        number: whether its cells are numbers, which are set to the right.
    """

    name: str
    number: bool = False


@dataclass(frozen=True)
class Mark:
    """A value on a strip, in the strip's unit.

    Args:
        low, high: ends of its interval, or of its bounds.
        value: where its dot stands; None draws the span alone: a value that is withheld lies in it.
        kind: which of the strip's kinds it is.
    """

    low: float
    high: float
    value: float | None
    kind: int = 0


@dataclass(frozen=True)
class Strip:
    """A drawn column: every row's values with their intervals over one axis.

    Args:
        name: what the axis shows, with its unit.
        marks: for each row of the table.
        kinds: names of the kinds of marks, in order.
        reference: a value that is marked by a line, such as 50.
    """

    name: str
    marks: tuple[tuple[Mark, ...], ...]
    kinds: tuple[str, ...]
    reference: float | None = None


@dataclass(frozen=True)
class ReportTable:
    """Text in rows. Cells are whatever users wrote: whoever shows them escapes them. A second line of one is small.

    Args:
        columns: headings.
        rows: cells, a tuple for each row, as long as the columns.
        strip: drawn before the first column of numbers, where a page can draw.
        caption: what the table is, where the section's title does not say so.
        plotted: an interactive figure shows the strip, so that the strip is for paper and for pages without a script.
    """

    columns: tuple[ReportColumn, ...]
    rows: tuple[tuple[str, ...], ...]
    strip: Strip | None = None
    caption: str = ""
    plotted: bool = False

    @property
    def words(self) -> int:
        """Columns before the first one of numbers."""
        return next((at for at, column in enumerate(self.columns) if column.number), len(self.columns))


@dataclass(frozen=True)
class Lines:
    """Curves with intervals over one x axis.

    Args:
        x, y: what the axes show, with units.
        curves: one a model; the first are drawn in colour.
        ticks: places on the x axis with their labels.
        reference: a value of y that is marked by a line.
    """

    x: str
    y: str
    curves: tuple[Curve, ...]
    ticks: tuple[tuple[float, str], ...]
    reference: float | None = None


@dataclass(frozen=True)
class Section:
    """A part of a report.

    Args:
        title: its heading.
        notes: sentences above tables and curves.
        lines: curves that need no script, or none.
        tables: in order.
        plots: interactive figures, for pages with a script; they stand above the tables.
        samples: texts side by side, below the tables.
        code: a command or settings, shown as they are.
    """

    title: str
    notes: tuple[str, ...] = ()
    lines: tuple[Lines, ...] = ()
    tables: tuple[ReportTable, ...] = ()
    plots: tuple[Plot, ...] = ()
    samples: Samples | None = None
    code: str = ""


def number_columns(*names: str) -> Iterator[ReportColumn]:
    """Yield columns of numbers with these headings."""
    return (ReportColumn(name, number=True) for name in names)


def plot_lines(section: Section, name: str) -> Section:
    """Replace curves that need no script by interactive figures; those of many models stay, since colours are few.

    Args:
        section: of a page with a script.
        name: beginning of the names of its figures.
    """
    few = [lines for lines in section.lines if len(lines.curves) <= COLOURED]
    plots = tuple(
        plot_intervals(
            f"{name}-{number}", f"{lines.y.partition(',')[0].capitalize()} by {lines.x}",
            [IntervalPoint(curve.name, x, mean) for curve in lines.curves for x, mean in curve.points.items()],
            Axes(lines.x, lines.y, ticks=lines.ticks, reference=lines.reference), joined=True,
        )
        for number, lines in enumerate(few, 1)
    )  # fmt: skip
    rest = tuple(lines for lines in section.lines if lines not in few)
    return replace(section, lines=rest, plots=(*section.plots, *plots))


def plot_strips(section: Section, name: str) -> Section:
    """Add an interactive figure for the strip of every table; the strips stay, for paper.

    Args:
        section: of a page with a script.
        name: beginning of the names of its figures.
    """
    plots, tables = [], []
    for number, table in enumerate(section.tables, 1):
        strip = table.strip
        if strip is None or not any(strip.marks) or len(table.rows) > MOST_ROWS:
            tables.append(table)
            continue
        words = [" · ".join(row[: table.words]) for row in table.rows]
        firsts = [row[0] for row in table.rows]
        labels = firsts if len(set(firsts)) == len(firsts) else words
        points = [
            IntervalPoint(
                strip.kinds[mark.kind], label,
                Interval(math.nan if mark.value is None else mark.value, mark.low, mark.high, 0.95, rows=0, clusters=0),
            )
            for label, marks in zip(labels, strip.marks, strict=True)
            for mark in marks
        ]  # fmt: skip
        title = strip.name[:1].upper() + strip.name[1:]
        plot = plot_interval_rows(f"{name}-{number}", title, points, strip.name, zero=strip.reference, counted="")
        plots.append(replace(plot, printed=False))
        tables.append(replace(table, plotted=True))
    return replace(section, plots=(*section.plots, *plots), tables=tuple(tables))


def write_markdown(sections: Sequence[Section]) -> str:
    """Write sections as Markdown: tables without their drawings; cells and notes are text, whatever marks they hold."""
    return "\n".join(line for section in sections for line in _write_lines(section))


def _write_lines(section: Section) -> list[str]:
    lines = [f"## {_escape_markup(section.title)}", ""]
    for note in section.notes:
        lines += [_escape_markup(note), ""]
    for table in section.tables:
        lines += [f"*{_escape_markup(table.caption)}*", ""] if table.caption else []
        lines.append("| " + " | ".join(_escape_markup(column.name) for column in table.columns) + " |")
        lines.append("|" + "|".join("---:" if column.number else "---" for column in table.columns) + "|")
        lines += ["| " + " | ".join(_escape_markup(cell) for cell in row) + " |" for row in table.rows]
        lines.append("")
    return lines


def _escape_markup(text: str) -> str:
    """Escape markup, so that it is shown literally."""
    # Brackets around an interval are no link and stay readable.
    escaped = re.sub(r"\\\[([+-]?[\d.]+, [+-]?[\d.]+)\\\]", r"[\1]", _MARKUP.sub(r"\\\1", flatten_text(text)))
    # A lone & is shown as it is; only one that would read as an entity is escaped.
    return escaped.replace("&", "&amp;") if re.search(r"&#?\w+;", escaped) else escaped
