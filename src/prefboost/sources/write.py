"""`write`: tables to files, in the shape of any trainer's own data."""

from __future__ import annotations

import filecmp
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from prefboost.addresses import find_address
from prefboost.atomic import replace_atomically
from prefboost.chat import to_record
from prefboost.chat.messages import tools_of
from prefboost.errors import DataError, Place, RunError
from prefboost.sources.messages.keys import has_further_values
from prefboost.sources.readers.remote import guard_address, put_output
from prefboost.sources.writers.exports import COMPLETION_EXPORTS, Export, find_export
from prefboost.sources.writers.file_types import LINE, FileType, find_file_type
from prefboost.sources.writers.outputs import refuse_inputs
from prefboost.sources.writers.shapes import has_read_extra, has_white_ends, select_role_and_content
from prefboost.tables import (
    COMPLETIONS,
    GOAL_PAIRS,
    MESSAGES,
    REJECTS,
    SCORED_COMPLETIONS,
    RejectFile,
    Table,
    reject_where,
)

__all__ = ["ShapedRows", "find_extras", "find_table_export", "find_table_extras", "refuse_other_rows", "shape", "write"]


@dataclass(frozen=True)
class ShapedRows:
    """Rows in a trainer's shape, those that it cannot take, and how many lost white space at a completion's end."""

    frame: pl.DataFrame
    rejects: pl.DataFrame
    trimmed: int = 0


def write(table: Table, out: str | Path, *, format: str = "prefboost", overwrite: bool = False) -> Table:
    """Write a table to one file; a reader sees the old file or the new one, never half.

    Args:
        table: any table for ``format="prefboost"``; GoalPairs for a trainer's format, or completions for ``trl``.
        out: path or address of fsspec, which ends in ``.parquet``, ``.jsonl``, ``.jsonl.gz`` or ``.jsonl.zst``. The
            file that a link names is replaced, not the link.
        format: see `EXPORTS`, and `COMPLETION_EXPORTS` for completions.
        overwrite: replace a file with other content. The same rows may be written again in any case, but at
            an address.

    Returns:
        The table, with the rows that the format cannot hold added to its rejects.

    Raises:
        DataError: the ending names no file type, or the format needs GoalPairs.
        SettingsError: the trainer does not load files of that type.
        RunError: the output is the file that the table was read from, lies around or among its input, is a folder, or
            holds other rows and ``overwrite`` is not set.
    """
    if (address := find_address(out)) is not None:
        guard_address(address, table, overwrite=overwrite)
        # Whole on this machine first, so that nothing half is there.
        with tempfile.TemporaryDirectory(prefix="prefboost-") as folder:
            local = Path(folder) / address.rpartition("/")[2]
            written = write(table, local, format=format)
            put_output(local, address, overwrite=overwrite)
        return written
    path = Path(out).expanduser()
    path = path.resolve() if path.is_symlink() else path
    kind, export = find_file_type(path), find_table_export(table, format)
    export.refuse_ending(kind.ending, single=True)
    refuse_inputs([path], [table])
    if path.is_dir():
        raise RunError("the output is a folder", remedy="name a file in it", place=Place(str(out)))
    extras = find_table_extras(table, export)
    refused = RejectFile([refusal.reason for refusal in export.refusals])

    def shape_frames() -> Iterator[pl.DataFrame]:
        for frame in table.read_frames():
            shaped = shape(frame, export, kind, path=table.path, extras=extras)
            refused.add(shaped.rejects)
            yield shaped.frame

    with replace_atomically(path) as waiting:
        kind.write_all(shape_frames(), waiting)
        if not overwrite:
            refuse_other_rows(waiting, path)
    return table.add_rejects(refused.finish())


def refuse_other_rows(waiting: Path, path: Path) -> None:
    """Refuse to replace a file by another one, unless that has the same bytes.

    Raises:
        RunError: the file holds other rows.
    """
    if path.exists() and not filecmp.cmp(waiting, path, shallow=False):
        raise RunError(
            "the output exists, and holds other rows",
            remedy="give another output, or replace this one: --overwrite, in Python overwrite=True",
            place=Place(str(path)),
        )


def find_table_export(table: Table, format: str) -> Export:
    """Find the export of that name that a table can be given in.

    Raises:
        DataError: the format needs GoalPairs.
        SettingsError: there is no such format.
    """
    completions = table.spec in (COMPLETIONS, SCORED_COMPLETIONS)
    export = find_export(format, COMPLETION_EXPORTS if completions else None)
    if export.name != "prefboost" and not completions and table.spec is not GOAL_PAIRS:
        raise DataError(
            f"format {format} needs GoalPairs, found {table.spec.name}",
            remedy="call pair, relabel and condition first, or write format prefboost",
            place=Place(path=table.path),
        )
    return export


def find_table_extras(table: Table, export: Export) -> list[str]:
    """Find what `find_extras` finds in any of a table's frames."""
    messages = [name for name, dtype in table.schema.items() if dtype == MESSAGES]
    extras = {name for frame in table.read_frames(messages) for name in find_extras(frame, export)}
    return [name for name in messages if name in extras]


def find_extras(frame: pl.DataFrame, export: Export) -> list[str]:
    """Find the columns of messages of which any has more than role and text that the export would write."""
    # Trainers take texts: parts are joined for them, and only prefboost's own format keeps them.
    extra = pl.element().struct.field("extra")
    in_parts = extra.str.contains(r'"content": \[').fill_null(False)
    further = has_further_values(extra) | in_parts if export.name == "prefboost" else has_further_values(extra)
    messages = [name for name, dtype in frame.schema.items() if dtype == MESSAGES]
    return [name for name in messages if frame[name].list.eval(further).list.any().any()]


def shape(
    frame: pl.DataFrame,
    export: Export,
    kind: FileType,
    *,
    path: str | None = None,
    extras: Sequence[str] | None = None,
) -> ShapedRows:
    """Bring rows into an export's shape.

    Args:
        frame: of GoalPairs or completions (any table's for the format prefboost).
        export: the shape.
        kind: tells whether messages may have further keys.
        path: where the rows came from, for the rejects.
        extras: of a part of a table, what `find_extras` finds in all of it; None: the frame is all.
    """
    rejects = pl.DataFrame(schema=REJECTS)
    refusals = [(refusal.reason, refusal.holds()) for refusal in export.refusals]
    messages = [name for name, dtype in frame.schema.items() if dtype == MESSAGES]
    extras = find_extras(frame, export) if extras is None else extras
    if extras and export.name != "prefboost" and export.spreads_extra and not kind.is_json:
        reason = f"tool calls and other keys of messages need JSON lines in format {export.name} (file_type=jsonl)"
        refusals.append((reason, pl.any_horizontal([has_read_extra(column) for column in extras])))
    for reason, holds in refusals:
        frame, refused = reject_where(frame, holds, stage="write", reason=reason, path=path)
        rejects = pl.concat([rejects, refused])
    trimmed = frame.select(has_white_ends().sum()).item() if export.trims and frame.height else 0
    # A frame has one type per column, so messages with keys of their own leave as finished lines.
    if kind.is_json and extras and export.spreads_extra:
        return ShapedRows(_build_lines(frame, export, messages), rejects, trimmed)
    if kind.is_json:
        frame = frame.with_columns(select_role_and_content(name) for name in messages)
    return ShapedRows(frame.select(export.select(frame.columns)), rejects, trimmed)


def _build_lines(frame: pl.DataFrame, export: Export, messages: Sequence[str]) -> pl.DataFrame:
    """Build one text column of finished JSON lines, for messages with keys of their own."""
    shaped = frame.select(export.select(frame.columns))
    sides = [name for name in messages if name in shaped.columns]
    lines = []
    for row, record in zip(shaped.iter_rows(named=True), frame.select(sides).iter_rows(named=True), strict=True):
        for side in sides:
            row[side] = [to_record(message, parts=export.name == "prefboost") for message in record[side]]
        # Tools get a key of their own, as chat templates take them.
        tools = tools_of(record[sides[0]]) if sides else None
        lines.append(json.dumps(row if tools is None else {**row, "tools": tools}, ensure_ascii=False))
    return pl.DataFrame({LINE: lines}, schema={LINE: pl.String})
