"""Batches that hold whole prompts, in bounded memory, wherever a prompt's records stand in the file."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import polars as pl

from prefboost.scratch import ScratchFile
from prefboost.sources.layouts.layout import Layout
from prefboost.sources.messages.conversations import ROLE_KEYS, are_parts, convert_messages, is_conversation
from prefboost.sources.readers.raw import BATCH_BYTES, ROW, RawBatch, Reader
from prefboost.sources.rows.parts import read_column, read_labels, read_raw_part
from prefboost.tables import MESSAGE

__all__ = [
    "NO_KEYS",
    "Runs",
    "choose_partitions",
    "count_runs",
    "drop_continued",
    "group_prompts",
    "group_span",
    "join_batches",
    "list_runs",
    "take_scattered",
]

KEY = "__key__"
MOST_PARTITIONS = 512
NO_KEYS = pl.Series("__key__", [], dtype=pl.UInt64)
"""No prompt stands apart."""

FIRST_TURN = r"(?s)^(.*?)(?:\n\nAssistant:|$)"


def group_prompts(reader: Reader, layout: Layout, rows: int | None) -> Iterator[RawBatch]:
    """Batch the records of a reader by about ``rows``, all records of one prompt in the same batch.

    Records stream in the order of the file. Only prompts whose records stand apart from each other take a detour over
    temporary files, and come last. Sources of a single batch are passed on as they are.
    """
    stream = reader.batches(None, rows)
    begin = [batch for batch in (next(stream, None), next(stream, None)) if batch is not None]
    # A single batch holds all prompts whole.
    if len(begin) < 2:
        yield from begin
        return
    scattered, share = _find_scattered(list_runs(reader, layout, rows))
    spill = _Spill(share)
    held: tuple[pl.DataFrame, ...] = ()
    for batch in chain(begin, stream):
        staying, apart = _part_scattered(batch, layout, scattered)
        for frame in apart:
            spill.add(frame)
        ready, held = _hold_back(_stack_frames([*held, *staying]))
        if ready or batch.rejects.height:
            yield RawBatch(tuple(map(_drop_key, ready)), batch.rejects)
    if held:
        yield RawBatch(tuple(map(_drop_key, held)))
    yield from spill.batches()


def _drop_key(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the records in one piece: Polars panics where one column has an empty chunk and others have none."""
    return frame.drop(KEY).rechunk()


def _stack_frames(frames: list[pl.DataFrame]) -> list[pl.DataFrame]:
    """Stack the frames of the same columns and types, without empty ones."""
    alike: dict[tuple[tuple[str, pl.DataType], ...], list[pl.DataFrame]] = {}
    for frame in frames:
        if frame.height:
            alike.setdefault(tuple(frame.schema.items()), []).append(frame)
    return [pl.concat(group) if len(group) > 1 else group[0] for group in alike.values()]


def _hold_back(frames: list[pl.DataFrame]) -> tuple[list[pl.DataFrame], tuple[pl.DataFrame, ...]]:
    """Keep the last prompt's records for the next batch, where more of them may come."""
    if not frames:
        return [], ()
    last = max(frames, key=lambda frame: frame[ROW][-1])[KEY][-1]
    starts = [frame.height - int((frame[KEY] == last).sum()) for frame in frames]  # where it begins: it is in one piece
    ready = [frame.head(begin) for frame, begin in zip(frames, starts, strict=True)]
    held = [frame.slice(begin) for frame, begin in zip(frames, starts, strict=True)]
    return [frame for frame in ready if frame.height], tuple(frame for frame in held if frame.height)


def _compute_keys(frame: pl.DataFrame, layout: Layout) -> pl.Series:
    """Compute keys that are equal for records of equal prompts (and may be equal for others)."""
    explicit = layout.parts.get("prompt")
    values = read_raw_part(frame, layout, "prompt") if explicit else read_column(frame, layout.parts["chosen"])
    texts = pl.Series([""]).new_from_index(0, frame.height)
    if not is_conversation(values.dtype):
        texts = read_labels(values).fill_null("")
        texts = texts if explicit else texts.str.extract(FIRST_TURN).fill_null("")
    elif isinstance(values.dtype, pl.List) and isinstance(values.dtype.inner, pl.Struct):
        # The role is a short field, the text is one of the others: all are put together.
        fields = values.dtype.inner.fields
        if any(are_parts(item.dtype) for item in fields):
            values, fields = convert_messages(values, "user")[0], MESSAGE.fields
        names = [item.name for item in fields if item.dtype == pl.String and item.name != "extra"]
        if names:
            joined = pl.concat_str([pl.element().struct.field(name).fill_null("") for name in names], separator="\x1e")
            role = next((name for name in ROLE_KEYS if name in names), names[0])
            led = pl.col("m").list.first().struct.field(role) == "system"
            messages = pl.col("m").list.eval(joined)
            # Without a prompt of its own a pair begins with the question, behind a system message.
            chosen = messages if explicit else messages.list.head(pl.when(led).then(2).otherwise(1))
            texts = values.to_frame("m").select(chosen.list.join("\x1f").fill_null("")).to_series()
    return texts.hash().alias(KEY)


def group_span(
    read: Callable[[int], RawBatch], span: range, count: int, layout: Layout, scattered: pl.Series
) -> Iterator[tuple[int, RawBatch]]:
    """Group a span of batches as `group_prompts` does, by itself: prompts that stand apart are left out.

    Args:
        read: a batch by its number.
        span: numbers of the batches, one after the other.
        count: of all batches.
        layout: what the columns mean.
        scattered: keys of the prompts that stand apart, from `count_runs`.

    Yields:
        number and records of a group: that of the batch in which it ends, ``count`` for the records behind all.
    """
    held: tuple[pl.DataFrame, ...] = ()
    # What is held back from before begins in the nearest batch that holds two prompts, or in the first one.
    before: list[list[pl.DataFrame]] = []
    for number in reversed(range(span.start)):
        before.append(_part_scattered(read(number), layout, scattered)[0])
        if len({key for frame in before[-1] for key in frame[KEY].unique()}) > 1:
            break
    for staying in reversed(before):
        held = _hold_back(_stack_frames([*held, *staying]))[1]
    for number in span:
        batch = read(number)
        staying = _part_scattered(batch, layout, scattered)[0]
        ready, held = _hold_back(_stack_frames([*held, *staying]))
        if ready or batch.rejects.height:
            yield number, RawBatch(tuple(map(_drop_key, ready)), batch.rejects)
    if span.stop == count and held:
        yield count, RawBatch(tuple(map(_drop_key, held)))


def take_scattered(batch: RawBatch, layout: Layout, scattered: pl.Series, partitions: int) -> dict[int, RawBatch]:
    """Take the records of prompts that stand apart, by their partition."""
    taken: dict[int, list[pl.DataFrame]] = {}
    for frame in _part_scattered(batch, layout, scattered)[1]:
        for number, part in _partition(frame, partitions):
            taken.setdefault(number, []).append(_drop_key(part))
    return {number: RawBatch(tuple(frames)) for number, frames in taken.items()}


def join_batches(batches: Iterable[RawBatch]) -> RawBatch:
    """Put the records of a partition together, from batches in the order of the file."""
    return RawBatch(
        tuple(frame.rechunk() for frame in _stack_frames([each for batch in batches for each in batch.frames]))
    )


def _part_scattered(
    batch: RawBatch, layout: Layout, scattered: pl.Series
) -> tuple[list[pl.DataFrame], list[pl.DataFrame]]:
    """Return the records with their keys: those that stay in the order of the file, and those that stand apart."""
    keyed = [frame.with_columns(_compute_keys(frame, layout)) for frame in batch.frames]
    if not scattered.len():
        return keyed, []
    marks = [frame[KEY].is_in(scattered.implode()) for frame in keyed]
    return (
        [frame.filter(~mark) for frame, mark in zip(keyed, marks, strict=True)],
        [frame.filter(mark) for frame, mark in zip(keyed, marks, strict=True)],
    )


@dataclass(frozen=True)
class Runs:
    """Runs of records of one prompt in a batch.

    Args:
        heads: key of each run, in order.
        records: how many.
    """

    heads: pl.Series
    records: int


def list_runs(reader: Reader, layout: Layout, rows: int | None) -> Iterator[Runs]:
    """List the runs of prompts in each batch, reading only the column that tells prompts apart where it can be."""
    names = [layout.parts["prompt"], *layout.further] if "prompt" in layout.parts else [layout.parts["chosen"]]
    columns = None if any("." in name for name in names) else [name for name in names if not name.startswith("__")]
    for batch in reader.batches(columns, rows):
        parts = [frame.select(ROW, _compute_keys(frame, layout)) for frame in batch.frames]
        if parts:
            keys = (pl.concat(parts).sort(ROW) if len(parts) > 1 else parts[0])[KEY]
            yield Runs(keys.filter((keys != keys.shift(1)).fill_null(value=True)), keys.len())


def _find_scattered(batches: Iterable[Runs]) -> tuple[pl.Series, int]:
    """Find the keys of prompts whose records are not adjacent, and the number of partitions that these need.

    Runs over the source once; memory grows by eight bytes per prompt.
    """
    runs: list[pl.Series] = []
    read, count, previous = 0, 0, None
    for each in batches:
        runs.append(drop_continued(each.heads, previous))
        previous = each.heads[-1] if each.heads.len() else previous
        read, count = read + each.records, count + 1
    if not runs:
        return NO_KEYS, 1
    scattered, apart = count_runs(pl.concat(runs))
    return scattered, choose_partitions(apart, count, read)


def drop_continued(heads: pl.Series, previous: int | None) -> pl.Series:
    """Drop the first run of a batch where it goes on from the batch before, whose last key is given."""
    return heads.slice(1) if heads.len() and heads[0] == previous else heads


def count_runs(heads: pl.Series) -> tuple[pl.Series, int]:
    """Find the keys that begin more than one run: those of prompts that stand apart; and how many runs they have."""
    counted = heads.value_counts()
    scattered = counted.filter(pl.col("count") > 1)
    return scattered[KEY], int(scattered["count"].sum() or 0)


def choose_partitions(apart: int, batches: int, records: int) -> int:
    """Choose the number of partitions of prompts that stand apart, each about a batch.

    Args:
        apart: runs of such prompts.
        batches: of the source.
        records: of the source.
    """
    return max(1, min(MOST_PARTITIONS, math.ceil(apart * batches / max(records, 1))))


def _partition(frame: pl.DataFrame, partitions: int) -> Iterator[tuple[int, pl.DataFrame]]:
    numbered = frame.with_columns((pl.col(KEY) % partitions).alias("__part__"))
    for key, part in numbered.partition_by("__part__", as_dict=True, include_key=False).items():
        yield int(key[0]), part


class _Spill:
    """Records that wait on disk, by a hash of their prompt, each partition about a batch."""

    def __init__(self, partitions: int) -> None:
        self.partitions = partitions
        self.waiting: list[pl.DataFrame] = []
        self.bytes = 0
        self.file: ScratchFile | None = None
        # Partition -> place and length of each of its parts.
        self.parts: dict[int, list[tuple[int, int]]] = {}

    def add(self, frame: pl.DataFrame) -> None:
        """Take records; they are written once there are many."""
        if frame.height == 0:
            return
        self.waiting.append(frame)
        self.bytes += int(frame.estimated_size())
        if self.bytes > BATCH_BYTES:
            self._write()

    def _write(self) -> None:
        self.file = self.file or ScratchFile()
        for frame in _stack_frames(self.waiting):
            for number, part in _partition(frame, self.partitions):
                content = io.BytesIO()
                part.write_ipc(content)
                place = self.file.append(content.getbuffer())
                self.parts.setdefault(number, []).append((place, content.tell()))
        self.waiting, self.bytes = [], 0

    def batches(self) -> Iterator[RawBatch]:
        """Yield all records taken, one partition at a time."""
        if self.file is None:
            merged = _stack_frames(self.waiting)
            parts = [(number, part) for frame in merged for number, part in _partition(frame, self.partitions)]
            for number in sorted({number for number, _ in parts}):
                yield RawBatch(tuple(_drop_key(part) for other, part in parts if other == number))
            return
        self._write()
        for number in sorted(self.parts):
            frames = [pl.read_ipc(io.BytesIO(self.file.read(*each))) for each in self.parts[number]]
            yield RawBatch(tuple(map(_drop_key, _stack_frames(frames))))
