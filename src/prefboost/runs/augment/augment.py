"""`augment`: scored preference data in, goal-conditioned pairs in any trainer's shape out.

Read, scale, pair, relabel, condition, write: batch by batch, so that memory does not grow with the rows, and part by
part, so that the same command after a kill goes on where it stopped and ends with the same bytes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from prefboost.addresses import find_address, format_place
from prefboost.chat import to_record
from prefboost.chat.goal_text import print_goal
from prefboost.errors import DataError
from prefboost.preferences.scales.fit import find_declared_range, find_score_columns
from prefboost.preferences.stated_goals import StatedGoals
from prefboost.progress import Tell, WorkProgress
from prefboost.runs.augment.goals import (
    assume_goals,
    load_goals,
    note_goals,
    read_inputs,
    revise_goals,
    settle_goals,
    suggest_range,
)
from prefboost.runs.augment.output import Output
from prefboost.runs.augment.report import AugmentFacts, PartCounts, build_report, list_source_settings
from prefboost.runs.augment.selection import Selection
from prefboost.runs.augment.settings import Augment, AugmentReport
from prefboost.runs.folder.far_place import makes_commits, stage_locally
from prefboost.runs.folder.output_place import explain_write_faults, name_source
from prefboost.runs.folder.staging import Staging
from prefboost.runs.preparation import make_goal_pairs
from prefboost.runs.shards import Shard
from prefboost.sources import Source
from prefboost.sources.read import resolve_source
from prefboost.sources.write import shape
from prefboost.sources.writers.exports import find_export
from prefboost.sources.writers.file_types import FILE_TYPES
from prefboost.sources.writers.hub import refuse_repository, upload
from prefboost.tables import Table

__all__ = [
    "Augment",
    "AugmentReport",
    "GoalsAndMessages",
    "Preview",
    "augment",
    "finish_output",
    "make_parts",
    "place_report",
    "preview",
    "report_work",
    "write_here",
    "write_parts",
]

_DEFAULT = Augment()
_PREVIEW_RECORDS = 1000

GoalsAndMessages = tuple[StatedGoals, Sequence[str]]
"""Wording of the goals in the parts that were made, and messages."""


@dataclass(frozen=True)
class Preview:
    """Preview of `augment` on the first records: the guess, the counts, and some rows as they would be written."""

    report: AugmentReport
    rows: Sequence[dict[str, Any]]


def augment(
    source: Any,
    out: str | Path,
    settings: Augment = _DEFAULT,
    *,
    overwrite: bool = False,
    push_to: str | None = None,
    progress: Tell | None = None,
) -> AugmentReport:
    """Turn scored preference data into goal-conditioned pairs.

    Args:
        source: as for `prefboost.read`.
        out: a folder (README.md, prefboost.json, rejects.parquet, data/), or one file where the name ends in
            .parquet, .jsonl, .jsonl.gz or .jsonl.zst (its card, manifest and rejects stand beside it).
        settings: what to do.
        overwrite: replace an output of `augment` that was made otherwise; files that it did not write stay.
        push_to: ``owner/name`` on the Hugging Face hub, to which the folder is uploaded as well.
        progress: is called after every batch.

    Returns:
        What was done; ``skipped`` where the same output was already there.

    Raises:
        RunError: the output is an input or lies around one, exists and was made otherwise, the disk is full, or the
            hub does not take it.
        DataError: the source cannot be read, or nothing came out.
    """
    begin = time.monotonic()
    source = source if isinstance(source, str | Path) else resolve_source(source)
    located = Output.at(out, settings, source)
    # What is pushed as well is a folder of this machine.
    waits_there = push_to is None and not makes_commits(out)
    with nullcontext(located) if waits_there else write_here(located, overwrite=overwrite) as output:
        if push_to is not None:
            output.refuse_file("a single file cannot be pushed: write a folder")
            refuse_repository(push_to)
        make = partial(make_parts, output, source, progress)
        report = finish_output(output, source, make, overwrite=overwrite, progress=progress)
        address = None if push_to is None else upload(output.path, push_to, "dataset")
    return replace(place_report(report, out), seconds=time.monotonic() - begin, address=address)


@contextmanager
def write_here(output: Output, *, overwrite: bool) -> Iterator[Output]:
    """Give the place of an output on this machine; of one at an address, what is put there once the block ends.

    Raises:
        RunError: something stands at the address that may not be replaced, or the file system refuses.
    """
    if find_address(output.path) is not None:
        output.refuse_existing(overwrite=overwrite)
    with stage_locally(output.place, overwrite=overwrite) as place:
        yield replace(output, place=place)


def place_report(report: AugmentReport, out: str | Path) -> AugmentReport:
    """Name the address in the report of an output that was written here and put there."""
    address = find_address(out)
    return report if address is None else replace(report, out=address, rejects_path=None)


def preview(source: str | Path | Source, settings: Augment = _DEFAULT, *, rows: int = 3) -> Preview:
    """Look at the first records only; nothing is written.

    Args:
        source: as in `augment`.
        settings: as in `augment`; a scale that is fitted to scores is fitted to these records alone.
        rows: how many rows to show.
    """
    export = find_export(settings.format)
    # A trainer that reads no folders gets a single file, whose name says its type.
    ending = settings.file_type or (export.endings or export.endings_of_file)[0]
    export.refuse_ending(ending, single=not export.endings)
    first = next(read_inputs(source, settings.model_copy(update={"batch_rows": _PREVIEW_RECORDS})))
    goals = settle_goals(settings, [first], find_declared_range(first))
    table = make_goal_pairs(Selection(settings).apply(first), settings, goals.scales, goals.say)
    about = AugmentFacts(
        name_source(source), "", "OUT", single=False, settings=settings, data=list_source_settings(source)
    )
    shaped = shape(table.frame, export, FILE_TYPES[ending], path=table.path)
    table = replace(table, rejects=pl.concat([table.rejects, shaped.rejects]))
    counts = PartCounts.of_table(table, shaped.frame.height, trimmed=shaped.trimmed)
    try:
        report = build_report([counts], about, goals, out="OUT", rejects_path="")
    except DataError as error:
        raise suggest_range(error, source, settings) from None
    rows_shown = table.frame.filter(~pl.col("goal_pair_id").is_in(shaped.rejects["id"].to_list())).head(rows)

    def format_row(row: dict[str, Any]) -> dict[str, Any]:
        sides = {side: [to_record(message) for message in row[side]] for side in ("prompt", "chosen", "rejected")}
        aspects = {name.removeprefix("goal."): value for name, value in row.items() if name.startswith("goal.")}
        stated = [] if row["goal"] is None else [print_goal(goals.say, row["goal"])]
        stated += [f"{name} {print_goal(goals.say, value)}" for name, value in aspects.items() if value is not None]
        return {"view": row["view"], "goal": row["goal"], "said": ", ".join(stated) or None, **sides}

    return Preview(report, [format_row(row) for row in rows_shown.iter_rows(named=True)])


def finish_output(
    output: Output,
    source: str | Path | Source,
    make: Callable[[Staging], GoalsAndMessages],
    *,
    overwrite: bool,
    progress: Tell | None,
) -> AugmentReport:
    """Make the parts of an output and put them together, unless the same output is there already.

    Args:
        output: what is written where.
        source: as in `augment`.
        make: fits the scales and makes every part that the staging folder lacks; returns the goals and messages.
        overwrite, progress: see `augment`.
    """
    if (finished := output.read_finished()) is not None:
        output.place.clear()
        return finished
    settings = output.about.settings
    output.refuse_existing(overwrite=overwrite)
    with explain_write_faults(output.place), output.place.open_staging() as staging:
        goals, notes = make(staging)
        parts = [PartCounts(**staging.entries[number]["made"]) for number in sorted(staging.entries)]
        try:
            report = build_report(
                parts, output.about, goals, out=format_place(output.path), rejects_path=output.rejects_path
            )
        except DataError as error:
            raise suggest_range(error, source, settings) from None
        if progress is not None:
            progress(report_work(report.records, report.records, report.goal_pairs, "putting the parts together"))
        output.publish(staging, report, parts, goals)
        resumed, deleted = staging.resumed_parts, staging.deleted_parts
    messages = [*report.messages, *notes]
    if resumed:
        messages.append(f"went on after {resumed:,} parts that an earlier call had finished")
    if deleted:
        messages.append(f"started over: {deleted:,} unfinished parts of other settings or another input were deleted")
    output.place.clear()
    return replace(report, parts=len(parts), parts_found=resumed, messages=tuple(messages))


def make_parts(
    output: Output, source: str | Path | Source, progress: Tell | None, staging: Staging
) -> GoalsAndMessages:
    """Make all parts in this process; twice where the first batch told another scale than the whole input."""
    settings, messages = output.about.settings, []
    assumed, tables = assume_goals(source, settings, read_inputs(source, settings), staging)
    goals = load_goals(source, settings, staging) if assumed is None else assumed
    scored = write_parts(tables, goals, output, staging, progress)
    if assumed is not None:
        goals, confirmed = revise_goals(assumed, source, settings, scored)
        # Before the note is written: a kill in between never leaves parts of another scale than the note's.
        if not confirmed:
            staging.discard()
        note_goals(goals, staging)
        if not confirmed:
            write_parts(read_inputs(source, settings), goals, output, staging, progress)
            messages = ["made all parts twice: the first rows have other scores than the whole, which decide the scale"]
    return goals, messages


def _read_ahead(tables: Iterator[Table]) -> Iterator[Table]:
    """Yield the same tables, reading the next one while the last one is used."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="read") as reader:
        coming = reader.submit(next, tables, None)
        while (table := coming.result()) is not None:
            coming = reader.submit(next, tables, None)
            yield table


def write_parts(
    tables: Iterator[Table],
    goals: StatedGoals,
    output: Output,
    staging: Staging,
    progress: Tell | None,
    shard: Shard | None = None,
) -> list[Table]:
    """Compute the next part while the last one is written; parts that exist, or of other shards, are only read past.

    Returns:
        all batches with nothing but their scores.
    """
    scored: list[Table] = []
    settings, total = output.about.settings, output.records_total()
    selection = Selection(settings)
    records = goal_pairs = 0
    pending: Future[None] | None = None
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="write") as writer:
        for number, read in enumerate(_read_ahead(tables)):
            scored.append(
                replace(read, frame=read.frame.select(find_score_columns(read)), rejects=read.rejects.clear())
            )
            records += int(read.steps[0].notes.get("records", read.steps[0].rows_in))
            missing = number not in staging.entries and (shard is None or number % shard.count == shard.index)
            selected = selection.apply(read) if missing or selection.remembers else read
            if missing:
                table = make_goal_pairs(selected, settings, goals.scales, goals.say)
                # One part waits at most, so that memory holds three: one read, one computed, one written.
                if pending is not None:
                    pending.result()
                pending = writer.submit(_write_part, number, table, output, staging)
                goal_pairs += len(table)
            elif number in staging.entries:
                goal_pairs += staging.entries[number]["made"]["goal_pairs"]
            if progress is not None:
                progress(report_work(records, total, goal_pairs, "augmenting"))
        if pending is not None:
            pending.result()
    return scored


def report_work(records: int, total: int | None, goal_pairs: int, label: str) -> WorkProgress:
    """Describe how far the parts are."""
    # The total of JSON lines is an estimate, which the records may exceed.
    total = None if total is None else max(total, records)
    return WorkProgress("augmenting", total, records, unit="records", label=label, note=f"{goal_pairs:,} goal pairs")


def _write_part(number: int, table: Table, output: Output, staging: Staging) -> None:
    files, counts = output.write_part(number, table, staging.path)
    staging.add(number, files, {"made": asdict(counts)})
