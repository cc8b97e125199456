"""``prefboost augment``: scored preference data in, goal-conditioned pairs in any trainer's shape out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prefboost.cli.bars import bars
from prefboost.cli.columns import shown_columns
from prefboost.cli.options import Quiet

if TYPE_CHECKING:
    from collections.abc import Mapping

    from prefboost.runs.augment.augment import Preview
    from prefboost.runs.augment.settings import Augment, AugmentProgress, AugmentReport

__all__ = ["augment_command"]


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
        typer.Option("--out", "-o", help="A folder, or one file: .parquet, .jsonl, .jsonl.gz or .jsonl.zst."),
    ] = None,
    format_: Annotated[
        str | None, typer.Option("--format", help="prefboost, trl, llamafactory, axolotl, openrlhf or verl.")
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option(help="Hub id or folder of the model to train; settles place auto.")
    ] = None,
    push: Annotated[str | None, typer.Option(help="Upload the folder to this data set of the hub: OWNER/NAME.")] = None,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace an output of augment that was made otherwise; files of others stay."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the guess, counts and examples of the first records; write nothing.")
    ] = False,
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Turn scored preference data into goal-conditioned pairs: read, pair, relabel, condition, write.

    The same command after an interruption goes on where it stopped. Settings are those of a recipe:
    `prefboost explain pair`, `relabel`, `condition`, `scale`, `select`; and below `data`, what is said of the source.
    """
    from prefboost.errors import SettingsError
    from prefboost.recipes.given_source import given_source
    from prefboost.runs.augment.augment import augment, preview

    data, others = given_source(source, overrides or [])
    settings = _settings(others, {"format": format_, "tokenizer": tokenizer})
    if dry_run:
        seen = preview(data, settings)
        shown = {**seen.report.as_json(), "rows": list(seen.rows)}
        print(json.dumps(shown, indent=2, ensure_ascii=False)) if as_json else _print_preview(seen)
        return
    if out is None:
        raise SettingsError("no output is named", remedy="-o FOLDER, or -o FILE.parquet")
    bar = None if quiet else _Bar()
    try:
        report = augment(data, out, settings, overwrite=overwrite, push_to=push, progress=bar)
    finally:
        if bar is not None:
            bar.close()
    print(json.dumps(report.as_json(), indent=2, ensure_ascii=False)) if as_json else _print_report(report)


def _settings(overrides: list[str], flags: Mapping[str, str | None]) -> Augment:
    from prefboost.recipes.validate import override
    from prefboost.runs.augment.settings import Augment

    flagged = [f"{name}={json.dumps(value)}" for name, value in flags.items() if value is not None]
    return override(Augment(), [*flagged, *overrides])


class _Bar:
    """A progress bar with rate and time left; the total may be unknown, and is an estimate for JSON lines."""

    def __init__(self) -> None:
        self.bars = bars("{task.description}", hidden=False)
        self.task = self.bars.add_task("augmenting", total=None, detail="")
        self.bars.start()

    def __call__(self, progress: AugmentProgress) -> None:
        total = None if progress.records_total is None else max(progress.records_total, progress.records)
        elapsed = self.bars.tasks[0].elapsed or 0.0
        rate = f"{progress.records / elapsed:,.0f} records/s" if elapsed > 0 else ""
        self.bars.update(
            self.task, completed=progress.records, total=total, description=progress.stage, detail=rate, refresh=True
        )

    def close(self) -> None:
        """Take the bar off the screen."""
        self.bars.stop()


def _print_report(report: AugmentReport) -> None:
    for message in report.messages:
        print(message)
    if report.skipped:
        print(f"{report.out} is already there, made by the same command: nothing to do")
    _print_counts(report)
    print(f"read as        {_guess(report)}")
    splits = ", ".join(f"{split} {rows:,}" for split, rows in report.splits.items())
    print(f"written        {report.out} (format {report.format}; {splits})")
    if report.rejects_path:
        print(f"rejects        {report.rejects_path}")
    if report.address:
        print(f"pushed         {report.address}")
    print(f"took           {report.seconds:,.1f} s")


def _print_counts(report: AugmentReport) -> None:
    print(f"records in     {report.records:>12,}")
    print(f"pairs          {report.pairs:>12,}")
    print(f"goal pairs     {report.goal_pairs:>12,}")
    for reject in report.rejects:
        print(f"  set aside    {reject.count:>12,}  {reject.stage}: {reject.reason}")
    for reason in report.left_out:
        print(f"  left out     {reason.count:>12,}  {reason.stage}: {reason.reason}")
    for finding in report.findings:
        print(f"  found        {finding}")
    print(f"scale          {report.scale}")
    print(f"goal said      {report.place} ({report.place_because})")


def _print_preview(seen: Preview) -> None:
    print("columns were taken for:")
    for part, column in seen.report.guess.items():
        if column not in (None, "", [], {}, ()):
            print(f"  {part:<16} {shown_columns(column)}")
    print("another column is named with columns.NAME=COLUMN; what is said of a known collection, with data=KIND")
    print("the first records:")
    _print_counts(seen.report)
    for row in seen.rows:
        print(f"\n{row['view']} view, " + (f"goal {row['said']}" if row["said"] else "no goal"))
        for side in ("prompt", "chosen", "rejected"):
            for message in row[side]:
                print(f"  {side:<9} {message['role']:<10} {_short(message['content'])}")


def _guess(report: AugmentReport) -> str:
    named = [
        f"{part}={shown_columns(list(column) if isinstance(column, dict) else column)}"
        for part, column in report.guess.items()
        if part != "shape" and column not in (None, "", [], {}, ())
    ]
    return f"{report.guess.get('shape', '?')}: {' '.join(named)} (change with columns.NAME=COLUMN)"


def _short(text: Any, most: int = 200) -> str:
    """A line of the text: its beginning and its end, where a goal may stand."""
    line = " ".join(str(text).split())
    return line if len(line) <= most else f"{line[: most - 65]} ... {line[-60:]}"
