"""Batches that hold whole prompts, in bounded memory, wherever a prompt's records stand in the file."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import polars as pl

from prefboost.sources.layouts.layout import Layout
from prefboost.sources.messages.conversations import ROLE_KEYS, are_parts, convert_messages, is_conversation
from prefboost.sources.readers.files import BATCH_BYTES
from prefboost.sources.readers.raw import ROW, RawBatch, Reader
from prefboost.sources.rows.parts import read_column, read_labels, read_raw_part
from prefboost.tables import MESSAGE

__all__ = ["group_prompts"]

KEY = "__key__"
MOST_PARTITIONS = 512
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
    scattered, share = _find_scattered(reader, layout, rows)
    with tempfile.TemporaryDirectory(prefix="prefboost-") as folder:
        spill = _Spill(Path(folder), share)
        held: tuple[pl.DataFrame, ...] = ()
        for batch in chain(begin, stream):
            keyed = [frame.with_columns(_compute_keys(frame, layout)) for frame in batch.frames]
            staying = keyed
            if scattered.len():
                for frame in keyed:
                    spill.add(frame.filter(pl.col(KEY).is_in(scattered.implode())))
                staying = [frame.filter(~pl.col(KEY).is_in(scattered.implode())) for frame in keyed]
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


def _find_scattered(reader: Reader, layout: Layout, rows: int | None) -> tuple[pl.Series, int]:
    """Find the keys of prompts whose records are not adjacent, and the number of partitions that these need.

    Runs over the source once, reading only the column that tells prompts apart where the format allows it; memory
    grows by eight bytes per prompt.
    """
    runs: list[pl.Series] = []
    read, batches = 0, 0
    previous = None
    names = [layout.parts["prompt"], *layout.further] if "prompt" in layout.parts else [layout.parts["chosen"]]
    columns = None if any("." in name for name in names) else [name for name in names if not name.startswith("__")]
    for batch in reader.batches(columns, rows):
        parts = [frame.select(ROW, _compute_keys(frame, layout)) for frame in batch.frames]
        if not parts:
            continue
        keys = (pl.concat(parts).sort(ROW) if len(parts) > 1 else parts[0])[KEY]
        heads = keys.filter((keys != keys.shift(1)).fill_null(keys[0] != previous))
        previous = keys[-1]
        runs.append(heads)
        read, batches = read + keys.len(), batches + 1
    if not runs:
        return pl.Series([], dtype=pl.UInt64), 1
    # A prompt is scattered if its key begins more than one run; runs go on over borders of batches.
    counted = pl.concat(runs).value_counts()
    scattered = counted.filter(pl.col("count") > 1)
    apart = int(scattered["count"].sum() or 0)
    return scattered[KEY], max(1, min(MOST_PARTITIONS, math.ceil(apart * batches / max(read, 1))))


class _Spill:
    """Records that wait on disk, by a hash of their prompt, each partition about a batch."""

    def __init__(self, folder: Path, partitions: int) -> None:
        self.folder = folder
        self.partitions = partitions
        self.waiting: list[pl.DataFrame] = []
        self.bytes = 0
        self.files: dict[int, list[Path]] = {}

    def add(self, frame: pl.DataFrame) -> None:
        """Take records; they are written once there are many."""
        if frame.height == 0:
            return
        self.waiting.append(frame)
        self.bytes += int(frame.estimated_size())
        if self.bytes > BATCH_BYTES:
            self._write()

    def _write(self) -> None:
        for frame in _stack_frames(self.waiting):
            for number, part in self._parts(frame):
                path = self.folder / f"{number}-{sum(map(len, self.files.values()))}.arrow"
                part.write_ipc(path)
                self.files.setdefault(number, []).append(path)
        self.waiting, self.bytes = [], 0

    def _parts(self, frame: pl.DataFrame) -> Iterator[tuple[int, pl.DataFrame]]:
        numbered = frame.with_columns((pl.col(KEY) % self.partitions).alias("__part__"))
        for key, part in numbered.partition_by("__part__", as_dict=True, include_key=False).items():
            yield int(key[0]), part

    def batches(self) -> Iterator[RawBatch]:
        """Yield all records taken, one partition at a time."""
        if not self.files:
            merged = _stack_frames(self.waiting)
            parts = [(number, part) for frame in merged for number, part in self._parts(frame)]
            for number in sorted({number for number, _ in parts}):
                yield RawBatch(tuple(_drop_key(part) for other, part in parts if other == number))
            return
        self._write()
        for number in sorted(self.files):
            frames = [pl.read_ipc(path) for path in self.files[number]]
            yield RawBatch(tuple(map(_drop_key, _stack_frames(frames))))
