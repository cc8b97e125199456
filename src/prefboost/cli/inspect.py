"""``prefboost inspect``: the content of a file of preference data, and its faults."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prefboost.cli.printing import format_columns, print_json
from prefboost.errors import SettingsError

if TYPE_CHECKING:
    from rich.console import Console

    from prefboost.diagnosis import Example, Histogram, Inspection, Lengths

__all__ = ["inspect_command"]

_BLOCKS = " ▁▂▃▄▅▆▇█"
_STYLE = {"error": "red", "warning": "yellow", "note": "cyan"}
_SHOWN = 3
"""Examples that are printed; ``--json`` has more."""


def inspect_command(
    source: Annotated[str, typer.Argument(help="A file, folder, glob, saved data set or hub id.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            help="columns.NAME=COLUMN, e.g. columns.score=helpfulness; data=ultrafeedback data.split=test; of "
            "synthetic pairs: further files to compare, judge.engine=MODEL, embedder=MODEL, pairs=200"
        ),
    ] = None,
    against: Annotated[
        Path | None, typer.Option(help="A benchmark's prompts: a data file, or a text file with one per line.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Also write it as one page, to be opened in a browser.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show rows, columns, scores, lengths, ties, duplicates, goal coverage, rejects and lints.

    Of pairs that `prefboost synthesize` wrote it also shows length and position bias, diversity, aspects and cost; with
    judge.engine=MODEL the realised label noise, judged anew in both orders. Several such files are compared in a table.
    """
    from prefboost.cli.audit import audit_files, print_audits, read_audit, record_audits
    from prefboost.diagnosis import inspect
    from prefboost.recipes.source_arguments import read_columns, read_source
    from prefboost.runs.generate.prompt_files import read_benchmark_prompts

    others, files, settings = read_audit(overrides or [])
    if html is not None:
        from prefboost.runs.report.report import guard_page

        # Before a large file is read for a page that may not be written.
        guard_page(html, [Path(source), *map(Path, files)])
        if files:
            raise SettingsError("a page shows one data set", remedy="leave out --html, or the other files")
    audits = audit_files([source, *files], settings, optional=not files and settings is None)
    if files:
        print_json(record_audits(audits)) if as_json else print_audits(audits)
        return
    data, columns = read_source(source, others)
    prompts = [] if against is None else read_benchmark_prompts(against)
    inspection = inspect(data, columns=read_columns(columns), against=prompts)
    if html is not None:
        from prefboost.diagnosis.streams import open_stream
        from prefboost.runs.report.inspection_page import write_inspection_page

        write_inspection_page(inspection, open_stream(data, read_columns(columns)), html, name=source)
    if as_json:
        print_json({**json.loads(inspection.to_json()), **record_audits(audits)})
        return
    _print_inspection(inspection)
    print_audits(audits)
    if html is not None:
        print(f"page: {html}")


def _draw_bar(histogram: Histogram) -> str:
    most = max(histogram.counts) or 1
    # Nothing is blank, and the smallest block stands for any other count, so that rare values are seen.
    marks = [0 if not count else 1 + round(count / most * (len(_BLOCKS) - 2)) for count in histogram.counts]
    return "".join(_BLOCKS[mark] for mark in marks)


def _print_inspection(inspection: Inspection) -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console()
    console.print(
        f"[bold]{escape(inspection.path)}[/bold]: {inspection.records:,} records, {inspection.prompts:,} prompts, "
        f"{inspection.rows:,} rows of {inspection.table}"
    )
    guess = "  ".join(
        f"{what} ← {format_columns(column)}" for what, column in inspection.mapping.items() if what != "shape"
    )
    console.print(f"read as {inspection.mapping.get('shape', '?')}: {escape(guess)}  (change with columns.NAME=COLUMN)")
    if inspection.scores:
        _print_scores(console, inspection)
    _print_lengths(console, {"characters": inspection.lengths, "words": inspection.words})
    _print_goals(console, inspection)
    for reason, count in inspection.rejects.items():
        console.print(f"[red]rejected[/red] {count:,}: {escape(reason)}")
        _print_examples(console, inspection.reject_examples.get(reason, ()))
    for finding in inspection.findings:
        style = _STYLE[finding.severity]
        console.print(
            f"[{style}]{finding.severity}[/{style}] {finding.name}: {escape(finding.sentence)}: "
            f"{finding.count:,} of {finding.of:,}"
        )
        _print_examples(console, finding.examples)
        console.print(f"  → {escape(finding.remedy)}")
    if not inspection.findings and not inspection.rejects:
        console.print("no lint found anything")


def _print_scores(console: Console, inspection: Inspection) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table("score", "n", "missing", "low", "mean", "high", "histogram", box=None, pad_edge=False)
    for name, at in inspection.scores.items():
        table.add_row(escape(name), f"{at.count:,}", f"{at.missing:,}", f"{at.low:g}", f"{at.mean:.4g}",
                      f"{at.high:g}", _draw_bar(at.histogram))  # fmt: skip
    console.print(table)


def _print_lengths(console: Console, measured: Mapping[str, Mapping[str, Lengths]]) -> None:
    from rich.table import Table

    for unit, columns in measured.items():
        if not columns:
            continue
        table = Table(unit, "mean", "5 %", "50 %", "95 %", "most", box=None, pad_edge=False)
        for name, lengths in columns.items():
            marks = (lengths.mean, lengths.p5, lengths.p50, lengths.p95, lengths.most)
            table.add_row(name.ljust(len("characters")), *[f"{mark:,.0f}" for mark in marks])
        console.print(table)


def _print_goals(console: Console, inspection: Inspection) -> None:
    if inspection.goals is not None:
        first, last = inspection.goals.edges[0], inspection.goals.edges[-1]
        name = "goals" if inspection.views else "own goals (r_w and r_l)"
        tenths = (
            f"{inspection.goals.count_filled()} of {len(inspection.goals.counts)} tenths of the range hold 1 % or more"
        )
        console.print(f"{name} from {first:g} to {last:g}: {_draw_bar(inspection.goals)}  {tenths}")
    if inspection.distinct is not None:
        console.print(f"scores differ in {inspection.distinct:.1%} of the pairs of a prompt")
    if inspection.views:
        console.print("views: " + ", ".join(f"{view} {count:,}" for view, count in inspection.views.items()))


def _print_examples(console: Console, examples: tuple[Example, ...]) -> None:
    from rich.text import Text

    for example in examples[:_SHOWN]:
        where = "?" if example.row is None else f"{example.row:,}"
        line = Text(f"    row {where}  {example.text}")
        console.print(line, overflow="ellipsis", no_wrap=True, soft_wrap=False)
    rest = [str(example.row) for example in examples[_SHOWN:] if example.row is not None]
    if rest:
        console.print(f"    rows {', '.join(rest)} ...")
