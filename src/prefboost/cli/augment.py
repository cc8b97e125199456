"""``prefboost augment``: scored preference data in, goal-conditioned pairs in any trainer's shape out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prefboost.cli.executors import Address, ExecutorName, Tasks, augment_by, read_executor
from prefboost.cli.options import OnCores, OneShard, Quiet
from prefboost.cli.printing import format_columns, list_estimate, print_report
from prefboost.cli.row_estimates import estimate_augment
from prefboost.cli.terminal import open_output
from prefboost.errors import SettingsError

if TYPE_CHECKING:
    from prefboost.runs.augment.augment import Preview
    from prefboost.runs.augment.settings import Augment, AugmentReport
    from prefboost.sources import Source

__all__ = ["augment_command", "list_report", "print_preview", "read_augment"]

_FORMATS = "prefboost, trl, llamafactory, axolotl, openrlhf, ms-swift, nemo-rl, tinker or open-instruct"


def augment_command(
    source: Annotated[str, typer.Argument(metavar="IN", help="A file, folder, glob, saved data set or hub id.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            help="key=value, e.g. pair=best_vs_worst columns.score=rating scale=min_max data=ultrafeedback "
            "data.score=mean"
        ),
    ] = None,
    *,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="A folder or a file: .parquet, .jsonl[.gz|.zst]; - for JSON lines to stdout."),
    ] = None,
    format_: Annotated[str | None, typer.Option("--format", help=f"{_FORMATS}.")] = None,
    tokenizer: Annotated[
        str | None, typer.Option(help="Hub id or folder of the model to train; decides place auto.")
    ] = None,
    push: Annotated[str | None, typer.Option(help="Upload the folder to this data set of the hub: OWNER/NAME.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier output of augment; other files stay.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Show the columns, counts and examples of the first records; write nothing."),
    ] = False,
    on: OnCores = None,
    shard: OneShard = None,
    executor: ExecutorName = "local",
    address: Address = None,
    tasks: Tasks = None,
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Turn scored preference data into goal-conditioned pairs: read, pair, relabel, condition, write.

    The same command resumes after an interruption. Settings are those of a recipe (`prefboost explain pair`, `relabel`,
    `condition`, `scale`, `select`), and those of the source under `data`.
    """
    data, settings = read_augment(source, overrides, format_, tokenizer)
    if dry_run:
        estimate = estimate_augment((data, settings), on, executor, shard, out)
        print_preview((data, settings), estimate, as_json=as_json)
        return
    if out is None:
        raise SettingsError("no output is named", remedy="-o FOLDER, or -o FILE.parquet")
    if shard is not None and push is not None:
        raise SettingsError("a shard cannot be pushed", remedy="merge all shards, and push that")
    work = read_executor(executor, address, tasks, {"--shard": shard, "--push": push, "-o -": str(out) == "-" or None})
    if shard is not None:
        from prefboost.cli.shards import augment_own_part

        arguments = {"source": source, "overrides": overrides, "format_": format_, "tokenizer": tokenizer}
        augment_own_part(shard, (data, settings), out, arguments, quiet=quiet, as_json=as_json)
        return
    with open_output(out) as target:
        report = augment_by(work, (data, settings), target, overwrite=overwrite, push_to=push, quiet=quiet)
        report = report if target == out else replace(report, out="standard output", rejects_path=None)
        print_report(report.as_json(), list_report(report), as_json=as_json)


def print_preview(work: tuple[str | Source, Augment], estimate: Mapping[str, float], *, as_json: bool) -> None:
    """Print what the first records would become, and an estimate (`estimate_augment`)."""
    from prefboost.runs.augment.augment import preview

    sample = preview(*work)
    record = {**sample.report.as_json(), "rows": list(sample.rows)} | ({"estimate": estimate} if estimate else {})
    print_report(record, [*_list_preview(sample), *list_estimate(estimate)], as_json=as_json)


def read_augment(
    source: str, overrides: list[str] | None, format_: str | None, tokenizer: str | None
) -> tuple[str | Source, Augment]:
    """Read the source and the settings from the command's arguments.

    Raises:
        SettingsError: one line for every wrong override.
    """
    from prefboost.cli.overrides import read_overrides
    from prefboost.recipes.source_arguments import read_source
    from prefboost.runs.augment.settings import Augment

    data, others = read_source(source, overrides or [])
    flags = {"format": format_, "tokenizer": tokenizer}
    # As JSON, so that YAML does not read the name of a tokenizer as a number or a list.
    flagged = [f"{name}={json.dumps(value)}" for name, value in flags.items() if value is not None]
    return data, read_overrides(Augment, [*flagged, *others], base=Augment().model_dump(mode="json"))


def list_report(report: AugmentReport) -> Iterator[str]:
    """List what is printed of a finished output."""
    yield from report.messages
    if report.skipped:
        yield f"{report.out} exists already, written by the same command: nothing to do"
    yield from _list_counts(report)
    columns = [
        f"{part}={format_columns(list(column) if isinstance(column, dict) else column)}"
        for part, column in report.guess.items()
        if part != "shape" and column not in (None, "", [], {}, ())
    ]
    shape = report.guess.get("shape", "?")
    yield f"read as        {shape}: {' '.join(columns)} (change with columns.NAME=COLUMN)"
    splits = ", ".join(f"{split} {rows:,}" for split, rows in report.splits.items())
    yield f"written        {report.out} (format {report.format}; {splits})"
    if report.rejects_path:
        yield f"rejects        {report.rejects_path}"
    if report.address:
        yield f"pushed         {report.address}"
    yield f"took           {report.seconds:,.1f} s"


def _list_counts(report: AugmentReport) -> Iterator[str]:
    yield f"records in     {report.records:>12,}"
    yield f"pairs          {report.pairs:>12,}"
    yield f"goal pairs     {report.goal_pairs:>12,}"
    for reject in report.rejects:
        yield f"  rejected     {reject.count:>12,}  {reject.stage}: {reject.reason}"
    for reason in report.left_out:
        yield f"  left out     {reason.count:>12,}  {reason.stage}: {reason.reason}"
    for finding in report.findings:
        yield f"  found        {finding}"
    yield f"scale          {report.scale}"
    yield f"goal said      {report.place} ({report.place_because})"


def _list_preview(sample: Preview) -> Iterator[str]:
    yield "columns were taken for:"
    for part, column in sample.report.guess.items():
        if column not in (None, "", [], {}, ()):
            yield f"  {part:<16} {format_columns(column)}"
    yield "name another column with columns.NAME=COLUMN, and a known collection with data=KIND"
    yield "the first records:"
    yield from _list_counts(sample.report)
    for row in sample.rows:
        yield f"\n{row['view']} view, " + (f"goal {row['said']}" if row["said"] else "no goal")
        for side in ("prompt", "chosen", "rejected"):
            for message in row[side]:
                yield f"  {side:<9} {message['role']:<10} {_shorten(message['content'])}"


def _shorten(text: Any, most: int = 200) -> str:
    """Shorten a text to one line: its beginning, and its end, where a goal may stand."""
    line = " ".join(str(text).split())
    return line if len(line) <= most else f"{line[: most - 65]} ... {line[-60:]}"
