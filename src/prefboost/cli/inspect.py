"""``prefboost inspect``: what is in a file of preference data, and its faults."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from prefboost.diagnosis import Histogram, Inspection
    from prefboost.sources import Columns

__all__ = ["inspect_command"]

_BLOCKS = " ▁▂▃▄▅▆▇█"
_STYLE = {"error": "red", "warning": "yellow", "note": "cyan"}


def inspect_command(
    source: Annotated[str, typer.Argument(help="A file, folder, glob, saved data set or hub id.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="columns.NAME=COLUMN, e.g. columns.score=helpfulness")
    ] = None,
    against: Annotated[
        Path | None, typer.Option(help="A benchmark's prompts: a data file, or a text file with one a line.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show rows, columns, scores, lengths, ties, duplicates, goal coverage, rejects and lints."""
    from prefboost.diagnosis import inspect

    found = inspect(source, columns=_columns(overrides or []), against=_texts(against))
    if as_json:
        print(json.dumps(found.as_dict(), ensure_ascii=False, indent=2))
        return
    _print(found)


def _columns(overrides: list[str]) -> Columns:
    from pydantic import ValidationError

    from prefboost.errors import SettingsError
    from prefboost.sources import Columns

    named: dict[str, Any] = {}
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals or not key.startswith("columns."):
            raise SettingsError(f"{override!r} is not columns.NAME=COLUMN", remedy="e.g. columns.score=helpfulness")
        named[key.removeprefix("columns.")] = value.split(",") if "," in value else value
    try:
        return Columns.model_validate(named)
    except ValidationError as error:
        wrong = ", ".join(f"columns.{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise SettingsError(wrong, remedy=f"one of: {', '.join(Columns.model_fields)}") from None


def _texts(path: Path | None) -> list[str]:
    if path is None:
        return []
    if path.suffix == ".txt":
        return path.read_text(encoding="utf-8").splitlines()
    from prefboost.preferences.select import prompt_text
    from prefboost.sources import read

    return read(path).frame.select(text=prompt_text())["text"].to_list()


def _bar(histogram: Histogram) -> str:
    most = max(histogram.counts) or 1
    marks = [0 if not count else 1 + round(count / most * (len(_BLOCKS) - 2)) for count in histogram.counts]
    return "".join(_BLOCKS[mark] for mark in marks)


def _print(found: Inspection) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    console.print(
        f"[bold]{escape(found.path)}[/bold]: {found.records:,} records, {found.prompts:,} prompts, "
        f"{found.rows:,} rows of {found.table}"
    )
    guess = "  ".join(f"{what} ← {column}" for what, column in found.mapping.items() if what != "shape")
    console.print(f"read as {found.mapping.get('shape', '?')}: {escape(guess)}  (change with columns.NAME=COLUMN)")
    if found.scores:
        table = Table("score", "n", "missing", "low", "mean", "high", "histogram", box=None, pad_edge=False)
        for name, at in found.scores.items():
            table.add_row(name, f"{at.count:,}", f"{at.missing:,}", f"{at.low:g}", f"{at.mean:.2f}", f"{at.high:g}",
                          _bar(at.histogram))  # fmt: skip
        console.print(table)
    table = Table("characters", "mean", "5 %", "50 %", "95 %", "most", box=None, pad_edge=False)
    for name, lengths in found.lengths.items():
        marks = (lengths.mean, lengths.p5, lengths.p50, lengths.p95, lengths.most)
        table.add_row(name, *[f"{mark:,.0f}" for mark in marks])
    console.print(table)
    if found.goals is not None:
        first, last = found.goals.edges[0], found.goals.edges[-1]
        console.print(f"own goals from {first:g} to {last:g}: {_bar(found.goals)}")
    if found.distinct is not None:
        console.print(f"scores differ in {found.distinct:.1%} of the pairs of a prompt")
    for reason, count in found.rejects.items():
        rows = ", ".join(map(str, found.reject_rows.get(reason, ())))
        console.print(f"[red]set aside[/red] {count:,}: {escape(reason)} (rows {rows})")
    for finding in found.findings:
        rows = f" (rows {', '.join(map(str, finding.rows))})" if finding.rows else ""
        style = _STYLE[finding.severity]
        console.print(
            f"[{style}]{finding.severity}[/{style}] {finding.name}: {escape(finding.sentence)}: "
            f"{finding.count:,} of {finding.of:,}{rows}\n  → {escape(finding.remedy)}"
        )
    if not found.findings and not found.rejects:
        console.print("no lint found anything")
