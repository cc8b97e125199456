"""The order of the file, restored by many: each task sorts the rows of one range of the input, from whatever parts.

A part holds whole prompts, whose records may stand anywhere. So its rows are written apart by range, and a second pass
reads each range from all parts. Nobody holds more than a range.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from prefboost.addresses import find_address
from prefboost.runs.folder.far_staging import fetch_part, list_damaged_parts, put_whole
from prefboost.runs.ray.data_plan import Item, ReadPlan, Spread, list_spans
from prefboost.runs.select.folder import RangeForm, write_range
from prefboost.runs.table_pieces import PieceTable
from prefboost.shelf import open_shelf
from prefboost.sources.readers.frames import list_frames, read_frame
from prefboost.sources.write import ShapedRows, find_table_export, shape
from prefboost.sources.writers.file_types import FILE_TYPES
from prefboost.tables import TABLES, Table

__all__ = ["RowFormat", "OrderedRows", "order_parts", "order_span", "read_record", "write_ranges", "write_record"]


@dataclass(frozen=True)
class RowFormat:
    """The form in which rows are written.

    Args:
        ending: of the file.
        format: a trainer's shape; None: every column as it is.
        extras: see `prefboost.sources.write.find_extras`, of the whole table.
    """

    ending: str = "parquet"
    format: str | None = None
    extras: tuple[str, ...] = ()

    def shape(self, head: Table, frame: pl.DataFrame) -> ShapedRows:
        """Bring rows into the form."""
        if self.format is None:
            return ShapedRows(frame, head.rejects)
        export = find_table_export(head, self.format)
        return shape(frame, export, FILE_TYPES[self.ending], path=head.path, extras=self.extras)


@dataclass(frozen=True)
class OrderedRows:
    """Rows and rejects in the order of the file, as files that tasks wrote.

    Args:
        folder: of the files.
        ranges: files and counts of each range that has any, in order; ``number`` where they are files of a folder.
    """

    folder: Path
    ranges: Sequence[Mapping[str, Any]]

    def open_files(self, what: str) -> Iterator[Path]:
        """Yield the files of rows or rejects where this process can read them; from an address one at a time."""
        described = [each["files"][what] for each in self.ranges]
        if find_address(self.folder) is None:
            yield from (self.folder / each["name"] for each in described)
            return
        with tempfile.TemporaryDirectory(prefix="prefboost-") as here:
            for each in described:
                path = fetch_part(open_shelf(self.folder), each, Path(here), self.folder)
                yield path
                path.unlink()

    def read_frames(self, what: str) -> Iterator[pl.DataFrame]:
        """Read rows or rejects, a range at a time."""
        return map(read_frame, self.open_files(what))

    def as_table(self, head: Table) -> PieceTable:
        """Return the table of these rows."""
        rejected: Counter[str] = Counter()
        for each in self.ranges:
            rejected.update(each["rejected"])
        frames = [partial(self.read_frames, what) for what in ("rows", "rejects")]
        return PieceTable(head, sum(each["rows"] for each in self.ranges), rejected, *frames)


def write_ranges(plan: ReadPlan, number: int, table: Table) -> dict[str, dict[str, Any]]:
    """Write rows and rejects of a part apart by the range of the input that they come from; describe the files."""
    firsts = np.array(plan.range_firsts)
    files: dict[str, dict[str, Any]] = {}
    for what, frame in (("rows", table.frame), ("rejects", table.rejects)):
        # Rejects without a row come first, as they are sorted.
        numbers = frame["row"].fill_null(0).cast(pl.Int64).to_numpy()
        ranges = np.maximum(np.searchsorted(firsts, numbers, side="right") - 1, 0)
        # A part without rows shows which columns there are.
        for at in np.unique(ranges) if len(ranges) else [0]:
            name = f"made-{what}.{at:07d}.{number:07d}.arrow"
            inside = frame.filter(pl.Series(ranges == at)) if frame.height else frame
            files[f"{what} {at}"] = put_whole(plan.folder / name, partial(inside.write_ipc, compression="lz4"))
    return files


def order_parts(spread: Spread, plan: ReadPlan, head: Table, form: RowFormat) -> OrderedRows:
    """Sort the rows that all parts have left, and bring them into their form."""
    spans = list_spans(len(plan.range_firsts), spread.tasks)
    # By the name of its kind: a declaration that was sent is equal to none that the task knows.
    about = head.spec.name, head.frame, head.path
    ordered = dict(spread(partial(order_span, plan, about, form), spans))
    return OrderedRows(plan.folder, [each for start in sorted(ordered) for each in ordered[start]])


def order_span(
    plan: ReadPlan, about: tuple[str, pl.DataFrame, str | None], form: RowFormat, item: Item
) -> tuple[int, list[Mapping[str, Any]]]:
    """Order the ranges of an item, unless an earlier attempt has.

    Args:
        plan: of the source.
        about: of the table: the name of its kind, its columns as a frame without rows, and its path.
        form: of the rows.
        item: the span of ranges.

    Returns:
        where it starts, and files and counts of its ranges.
    """
    head = Table(TABLES[about[0]], about[1], path=about[2])
    record = plan.folder / f"ordered.{item.name}.json"
    finished = read_record(record)
    if finished is not None and not any(list_damaged_parts(plan.folder, each["files"]) for each in finished["ranges"]):
        return item.start, finished["ranges"]
    parts_of: dict[str, dict[int, list[Path]]] = {"rows": defaultdict(list), "rejects": defaultdict(list)}
    for what, places in parts_of.items():
        for path in list_frames(plan.folder, f"made-{what}.*.arrow"):
            places[int(path.name.split(".")[1])].append(path)
    ranges: list[Mapping[str, Any]] = []
    for number in range(item.start, item.stop):
        frames = {}
        for what, schema in (("rows", head.frame), ("rejects", head.rejects)):
            parts = [read_frame(path) for path in parts_of[what][number]]
            frame = pl.concat([part for part in parts if part.height] or parts[:1] or [schema])
            # One record is in one part, so that rows of one number keep the order that they have there.
            frames[what] = frame.sort("row", maintain_order=True) if len(plan.pieces) > 1 else frame
        if not any(parts_of[what][number] for what in parts_of):
            continue
        if plan.range_records is not None and form.format is not None:
            whole = RangeForm(FILE_TYPES[form.ending], form.format, form.extras)
            entry = write_range(number, frames["rows"], frames["rejects"], head, whole, plan.folder)
            ranges.append({"number": number, **entry})
            continue
        shaped = form.shape(head, frames["rows"].rechunk())
        rejects = pl.concat([frames["rejects"], shaped.rejects]).sort("row", maintain_order=True).rechunk()
        rows_file, rejects_file = (plan.folder / f"ordered-{what}.{number:07d}" for what in parts_of)
        files = {
            "rows": put_whole(rows_file, partial(FILE_TYPES[form.ending].write_piece, shaped.frame)),
            "rejects": put_whole(rejects_file, partial(rejects.write_ipc, compression="lz4")),
        }
        reasons = dict(Counter(rejects["reason"].to_list()))
        ranges.append({"files": files, "rows": frames["rows"].height, "rejected": reasons})
    write_record(record, {"ranges": ranges})
    return item.start, ranges


def write_record(place: Path, content: Mapping[str, Any]) -> None:
    """Write what became of an item, for a restarted command."""
    open_shelf(place.parent).write(place.name, json.dumps(content, default=str).encode())


def read_record(place: Path) -> dict[str, Any] | None:
    """Read what `write_record` wrote; None where it wrote nothing that is whole."""
    try:
        record: dict[str, Any] = json.loads(open_shelf(place.parent).read(place.name))
        return record
    except (OSError, ValueError):
        return None
