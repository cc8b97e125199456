"""The plan of reading a source by many: its pieces, facts of the whole source, and groups of whole prompts.

Every function here is one task of one pass. Tasks meet in files of a folder that all of them see: what has to be
compared over the whole source is parted by hash, one file per piece and bucket, and each bucket is settled by itself.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from prefboost.addresses import find_address
from prefboost.errors import RunError
from prefboost.shelf import open_shelf
from prefboost.sources import Collection, Columns
from prefboost.sources.collection import OpenedSource, SourceFacts
from prefboost.sources.readers.binary_files import ParquetReader
from prefboost.sources.readers.files import JsonReader
from prefboost.sources.readers.frames import list_frames, read_frame, write_frame
from prefboost.sources.readers.pieces import (
    Member,
    Piece,
    PieceReader,
    list_members,
    number_pieces,
    plan_pieces,
    replace_innermost,
)
from prefboost.sources.readers.pipes import SpooledReader
from prefboost.sources.readers.raw import RawBatch, WrappedReader
from prefboost.sources.rows.grouping import (
    NO_KEYS,
    choose_partitions,
    count_runs,
    group_span,
    join_batches,
    list_runs,
    take_scattered,
)
from prefboost.sources.rows.identity import (
    DisputedIds,
    collect_disputes,
    collect_repeated,
    list_id_hashes,
    list_id_pairs,
)

__all__ = [
    "Item",
    "ReadPlan",
    "Spread",
    "gather_files",
    "list_items",
    "list_spans",
    "plan_source",
    "read_facts",
    "read_groups",
    "restore_plan",
    "record_plan",
    "scatter",
    "settle_bucket",
    "survey_piece",
    "take_apart",
]


class Spread(Protocol):
    """Runs the tasks of a pass, on a cluster or here."""

    @property
    def tasks(self) -> int:
        """How many run at once."""
        ...

    def __call__(self, work: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        """Call ``work`` with each item; yield what it returns, in any order."""
        ...


_BUCKET_RECORDS = 4_000_000
"""Records per bucket of what is compared over the whole source: some 100 MB while a bucket is settled."""

_CUT_READERS: dict[str, type[ParquetReader | JsonReader]] = {"parquet": ParquetReader, "json": JsonReader}
_RECORD, _STORED = "plan.json", "stored"
"""The file of a plan, and names of the readers of pieces in it; a stored piece has none."""

_MOST_PIECES = 8
"""Pieces per task: a task has to read the piece before its first one too."""


@dataclass(frozen=True)
class ReadPlan:
    """The pieces of a source, and where tasks find what is known of the whole.

    Args:
        opened: the source.
        pieces: in order.
        folder: files between the passes; all nodes see it.
        partitions: of the prompts whose records stand apart; 0 where there are none.
        stored: files that one reader had to read, since they cannot be cut.
        run: differs between plans, so that no process takes the facts of one for those of another.
        range_records: records of each range in which rows are put in order; None: a piece is a range.
    """

    opened: OpenedSource
    pieces: tuple[Piece, ...]
    folder: Path
    partitions: int = 0
    stored: tuple[str, ...] = ()
    run: str = ""
    range_records: int | None = None

    @property
    def range_firsts(self) -> list[int]:
        """Number of the first record of each range."""
        if self.range_records is None:
            return [piece.first for piece in self.pieces]
        return list(range(0, max(self.records, 1), self.range_records))

    @property
    def records(self) -> int:
        """Records of the source."""
        return sum(piece.records for piece in self.pieces)

    @property
    def buckets(self) -> int:
        """Parts of what is compared over the whole source."""
        return max(1, -(-self.records // _BUCKET_RECORDS))

    @property
    def groups(self) -> bool:
        """Whether prompts are made whole across pieces; a single batch holds them whole."""
        return self.opened.groups and len(self.pieces) > 1

    def view(self, number: int) -> OpenedSource:
        """Return the source with one piece as all its records."""
        inner = PieceReader(self.opened.reader.path, (self.pieces[number],))
        return replace(self.opened, reader=replace_innermost(self.opened.reader, inner))

    def read(self, number: int) -> RawBatch:
        """Read a piece as the source's reader gives it."""
        return next(iter(self.view(number).reader.batches(None, None)))


@dataclass(frozen=True)
class Item:
    """Work of one task: the groups of a span of pieces, or of a partition of the prompts that stand apart."""

    start: int
    stop: int
    partition: int | None = None

    @property
    def name(self) -> str:
        """Name of the file that lists what became of it."""
        return f"{self.start:06d}-{self.stop:06d}" + ("" if self.partition is None else f"-{self.partition:03d}")


def plan_source(spread: Spread, source: Collection, columns: Columns, rows: int | None, folder: Path) -> ReadPlan:
    """Find the pieces of a source and what is to know of it as a whole.

    Args:
        spread: where the passes run.
        source: of files.
        columns: named by the user.
        rows: records per batch, about.
        folder: for files between the passes; a path or an address that all nodes see.
    """
    if find_address(folder) is None:
        folder.mkdir(parents=True, exist_ok=True)
    ((opened, members),) = spread(partial(open_members, columns), [source])
    planned = dict(spread(partial(plan_member, rows, folder), list(enumerate(members))))
    pieces = number_pieces([planned[number][0] for number in range(len(members))])
    stored = tuple(each.reader.path for number, each in enumerate(members) if not planned[number][1])
    plan = ReadPlan(opened, tuple(pieces), folder, stored=stored, run=uuid.uuid4().hex)
    has_ids = {"prompt_id", "pair_id", "completion_id"} & {*opened.layout.parts}
    if not has_ids and not plan.groups:
        return plan
    surveyed = dict(spread(partial(survey_piece, plan), range(len(pieces))))
    last, firsts, batches = None, [], 0
    for _, ends in sorted(surveyed.items()):
        if ends is not None:
            firsts += [] if ends[0] == last else [ends[0]]
            last, batches = ends[1], batches + 1
    scatter(plan, pl.Series("__key__", firsts, dtype=pl.UInt64).to_frame(), "__key__", "heads", len(pieces))
    apart = sum(spread(partial(settle_bucket, plan), range(plan.buckets)))
    if not apart:
        return plan
    plan = replace(plan, partitions=choose_partitions(apart, batches, plan.records))
    for _ in spread(partial(take_apart, plan), range(len(pieces))):
        pass
    return plan


def record_plan(plan: ReadPlan, notes: Mapping[str, Any]) -> None:
    """Write a plan beside other JSON values, for `restore_plan`. The file holds no code: others may write there."""
    facts = {"partitions": plan.partitions, "stored": plan.stored, "run": plan.run}
    pieces = [
        {
            **{name: value for name, value in vars(piece).items() if name != "reader"},
            "reader": next((kind for kind, cls in _CUT_READERS.items() if isinstance(piece.reader, cls)), _STORED),
            "path": piece.reader if isinstance(piece.reader, str) else piece.reader.path,
        }
        for piece in plan.pieces
    ]
    content = json.dumps({**facts, "pieces": pieces, "notes": notes})
    open_shelf(plan.folder).write(_RECORD, content.encode())


def restore_plan(
    spread: Spread, source: Collection, columns: Columns, folder: Path
) -> tuple[ReadPlan, dict[str, Any]] | None:
    """Restore a plan and its notes from what `record_plan` wrote; None where it wrote nothing.

    Args:
        spread, source, columns, folder: as for `plan_source`, of an input that has not changed since.
    """
    shelf = open_shelf(folder)
    if not shelf.exists(_RECORD):
        return None
    record = json.loads(shelf.read(_RECORD))
    ((opened, _),) = spread(partial(open_members, columns), [source])
    pieces = []
    for each in record["pieces"]:
        kind, at = each.pop("reader"), each.pop("path")
        pieces.append(Piece(reader=_CUT_READERS[kind](at) if kind in _CUT_READERS else at, **each))
    plan = ReadPlan(opened, tuple(pieces), folder, record["partitions"], tuple(record["stored"]), record["run"])
    return plan, record["notes"]


def list_items(plan: ReadPlan, tasks: int) -> list[Item]:
    """List what tasks make groups of, in the order in which the groups stand in the output."""
    count = len(plan.pieces)
    return [*list_spans(count, tasks), *(Item(count, count, partition) for partition in range(plan.partitions))]


def list_spans(count: int, tasks: int) -> list[Item]:
    """Cut so many pieces or ranges into spans of neighbours, one per task."""
    step = max(1, min(_MOST_PIECES, count // (4 * tasks)))
    return [Item(start, min(start + step, count)) for start in range(0, count, step)]


def read_groups(plan: ReadPlan, item: Item) -> Iterator[tuple[int, RawBatch]]:
    """Yield the number and the records of each group of an item: the batches that the source streams."""
    count = len(plan.pieces)
    if item.partition is not None:
        paths = list_frames(plan.folder, f"apart.{item.partition}.*.arrow")
        if paths:
            yield count + 1 + item.partition, join_batches(RawBatch((read_frame(path),)) for path in paths)
    elif plan.groups:
        scattered = _read_scattered(plan.folder, plan.run)
        yield from group_span(plan.read, range(item.start, item.stop), count, plan.opened.layout, scattered)
    else:
        yield from ((number, plan.read(number)) for number in range(item.start, item.stop))


@lru_cache(maxsize=2)
def read_facts(folder: Path, run: str) -> SourceFacts:
    """Read what is known of the whole source; kept for all tasks of a process."""
    assert run
    hashes = {name: gather_files(folder, name) for name in ("disputed-ids", "disputed-prompts", "repeated")}
    series = {name: _to_series(frame) for name, frame in hashes.items()}
    disputed = DisputedIds(series["disputed-ids"], series["disputed-prompts"])
    return SourceFacts(repeated=series["repeated"], disputed=disputed)


def scatter(plan: ReadPlan, frame: pl.DataFrame, by: str, name: str, number: int) -> None:
    """Write a frame to one file per bucket, by a column of hashes."""
    for bucket in range(plan.buckets):
        part = frame.filter(pl.col(by) % plan.buckets == bucket) if plan.buckets > 1 else frame
        if part.height:
            write_frame(part, plan.folder / f"{name}.{bucket}.{number:07d}.arrow")


def gather_files(folder: Path, name: str) -> pl.DataFrame:
    """Put the files together that ``scatter`` wrote under a name (and a bucket: ``name.bucket``), in order."""
    paths = list_frames(folder, f"{name}.*.arrow")
    return pl.concat([read_frame(path) for path in paths]) if paths else pl.DataFrame()


def open_members(columns: Columns, source: Collection) -> tuple[OpenedSource, list[Member]]:
    """Open a source and list its files, as one task: ranks are looked for in all records."""
    opened = source.open_source(columns, in_place=True)
    reader = opened.reader
    while isinstance(reader, WrappedReader):
        reader = reader.reader
    if isinstance(reader, SpooledReader):
        raise RunError(
            "a stream is read by one machine", remedy="write it to a file on a disk that all nodes share, and give that"
        )
    return opened, list_members(opened.reader)


def plan_member(rows: int | None, folder: Path, numbered: tuple[int, Member]) -> tuple[int, tuple[list[Piece], bool]]:
    """Find the pieces of a file; return its number, the pieces, and whether they could be cut."""
    number, member = numbered
    return number, (plan_pieces(member, rows, folder / f"stored-{number}"), member.is_cut)


def survey_piece(plan: ReadPlan, number: int) -> tuple[int, tuple[int, int] | None]:
    """Write the hashes that one piece adds to what is compared over the whole source.

    Returns:
        its number, and the keys of its first and last runs of a prompt; None where there is no run.
    """
    opened = plan.view(number)
    pairs = list(list_id_pairs(*opened.ids))
    if pairs:
        unique = pl.concat(pairs).unique()
        scatter(plan, unique, "id", "by-id", number)
        scatter(plan, unique, "content", "by-content", number)
    hashes = list(list_id_hashes(opened.reader, opened.layout, None))
    if hashes:
        scatter(plan, pl.concat(hashes).alias("id").to_frame(), "id", "ids", number)
    runs = next(list_runs(opened.reader, opened.layout, None), None) if plan.groups else None
    if runs is None or not runs.heads.len():
        return number, None
    # Whether the first run goes on from the piece before is not known here.
    scatter(plan, runs.heads.slice(1).alias("__key__").to_frame(), "__key__", "heads", number)
    return number, (int(runs.heads[0]), int(runs.heads[-1]))


def settle_bucket(plan: ReadPlan, bucket: int) -> int:
    """Settle one bucket: ids that disagree or repeat, and prompts that stand apart; return the runs of these."""
    parts = {name: gather_files(plan.folder, f"{name}.{bucket}") for name in ("by-id", "by-content", "ids", "heads")}
    by_id, by_content = (
        collect_disputes([parts[name]] if parts[name].width else []) for name in ("by-id", "by-content")
    )
    scattered, apart = count_runs(_to_series(parts["heads"], "__key__"))
    results = {
        "disputed-ids": by_id.ids,
        "disputed-prompts": by_content.prompts,
        "repeated": collect_repeated([_to_series(parts["ids"])]),
        "scattered": scattered,
    }
    for name, series in results.items():
        write_frame(series.alias("hash").to_frame(), plan.folder / f"{name}.{bucket}.arrow")
    return apart


def take_apart(plan: ReadPlan, number: int) -> None:
    """Write the records of a piece whose prompts stand apart, by partition."""
    scattered = _read_scattered(plan.folder, plan.run)
    taken = take_scattered(plan.read(number), plan.opened.layout, scattered, plan.partitions)
    for partition, batch in taken.items():
        for at, frame in enumerate(batch.frames):
            write_frame(frame, plan.folder / f"apart.{partition}.{number:07d}-{at:03d}.arrow")


@lru_cache(maxsize=2)
def _read_scattered(folder: Path, run: str) -> pl.Series:
    assert run
    return _to_series(gather_files(folder, "scattered"), "__key__")


def _to_series(frame: pl.DataFrame, name: str = "id") -> pl.Series:
    return frame.to_series().alias(name) if frame.width else NO_KEYS.alias(name)
