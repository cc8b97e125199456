"""Parquet and Arrow files as readers: streams of raw frames, and slices of Parquet."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import BinaryIO

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from prefboost.addresses import find_address
from prefboost.errors import DataError, Place, UnreadableFile
from prefboost.sources.readers.raw import BATCH_BYTES, MOST_ROWS, RawBatch, add_row_numbers
from prefboost.sources.readers.remote import find_file_version, open_bytes, read_range

__all__ = ["DAMAGE", "PARQUET_MAGIC", "ArrowReader", "ParquetReader", "refuse_duplicates"]

PARQUET_MAGIC = b"PAR1"

DAMAGE = (
    pa.ArrowException,
    pl.exceptions.PolarsError,
    pl.exceptions.PanicException,
    OSError,
    UnicodeDecodeError,  # of a column's name
)
"""Errors that the libraries raise on damaged binary files."""


@dataclass(frozen=True)
class ParquetReader:
    """A Parquet file, in slices that follow its row groups."""

    path: str

    def batches(self, columns: Sequence[str] | None, rows: int | None) -> Iterator[RawBatch]:
        """See `Reader`."""
        metadata = self._read_metadata()
        held = _pick_columns(columns, _list_names(metadata))
        spans = _plan_spans(metadata, rows)
        frames: Iterator[pl.DataFrame] = (self._collect(offset, length, held) for offset, length in spans)
        first = 0
        try:
            if _is_vast(metadata):
                streamed = pq.ParquetFile(self._open()).iter_batches(_choose_step(metadata, rows), columns=held)
                frames = map(_convert_table, map(_validate_batch, streamed))
            for frame in frames:
                yield RawBatch((add_row_numbers(frame, first),))
                first += frame.height
        except DAMAGE as error:
            raise _describe_damage(self.path, "Parquet", error) from error

    def is_vast(self) -> bool:
        """Tell whether a row group is larger than two batches, so that slices would decode it again and again."""
        return _is_vast(self._read_metadata())

    def plan_slices(self, rows: int | None) -> list[tuple[int, int]]:
        """List offset and length of the slices that follow the row groups, each a batch."""
        return _plan_spans(self._read_metadata(), rows)

    def read_slice(self, offset: int, length: int, columns: Sequence[str] | None) -> RawBatch:
        """Read the records of a slice, numbered from 0."""
        held = _pick_columns(columns, _list_names(self._read_metadata()))
        try:
            return RawBatch((add_row_numbers(self._collect(offset, length, held), 0),))
        except DAMAGE as error:
            raise _describe_damage(self.path, "Parquet", error) from error

    def _collect(self, offset: int, length: int, columns: list[str] | None) -> pl.DataFrame:
        with self._locate_slice(offset, length) as path:
            scan = pl.scan_parquet(path, glob=False)
            return (scan if columns is None else scan.select(columns)).slice(offset, length).collect()

    @contextmanager
    def _locate_slice(self, offset: int, length: int) -> Iterator[str]:
        """Give the path of a file of this machine that has a slice where the whole file has it.

        Of a file at an address, the row groups of the slice are fetched into a file with holes in the place of all
        others, so that the same code decodes them, to the same frames.
        """
        address, first = find_address(self.path), 0
        spans: list[tuple[int, int]] = []
        if address is None:
            yield self.path
            return
        for group in _list_groups(self._read_metadata()):
            if first < offset + length and offset < first + group.num_rows:
                columns = [group.column(index) for index in range(group.num_columns)]
                # The dictionary of a column stands in front of its pages; some writers say 0 where there is none.
                begins = [min(filter(None, (each.dictionary_page_offset, each.data_page_offset))) for each in columns]
                ends = [begin + each.total_compressed_size for begin, each in zip(begins, columns, strict=True)]
                spans.append((min(begins), max(ends)))
            first += group.num_rows
        with tempfile.NamedTemporaryFile(prefix="prefboost-", suffix=".parquet") as local:
            size, _ = find_file_version(address)
            # In front of the last eight bytes stands the footer, whose length they tell.
            tail = read_range(self.path, size - 8, 8)
            footer = int.from_bytes(tail[:4], "little") + 8
            for begin, stop in [(0, 4), *spans, (size - footer, size)]:
                local.seek(begin)
                local.write(read_range(self.path, begin, stop - begin))
            local.flush()
            yield local.name

    def _open(self) -> str | BinaryIO:
        return self.path if find_address(self.path) is None else open_bytes(self.path)

    def _read_metadata(self) -> pq.FileMetaData:
        try:
            metadata = pq.ParquetFile(self._open()).metadata
            refuse_duplicates(_list_names(metadata), self.path)
        except DAMAGE as error:
            raise _describe_damage(self.path, "Parquet", error) from error
        return metadata


@dataclass(frozen=True)
class ArrowReader:
    """An Arrow file (IPC, Feather) or stream."""

    path: str

    def batches(self, columns: Sequence[str] | None, rows: int | None) -> Iterator[RawBatch]:
        """See `Reader`."""
        first = 0
        try:
            with pa.memory_map(self.path) as file:
                for batch in self._record_batches(file):
                    table = _validate_batch(batch)
                    refuse_duplicates(table.column_names, self.path)
                    held = _pick_columns(columns, table.column_names)
                    selected = table if held is None else table.select(list(held))
                    step = max(1, int(BATCH_BYTES * table.num_rows / max(table.nbytes, 1)))
                    for part in _parts(_convert_table(selected), min(rows or MOST_ROWS, step, MOST_ROWS)):
                        yield RawBatch((add_row_numbers(part, first),))
                        first += part.height
        except DAMAGE as error:
            raise _describe_damage(self.path, "Arrow", error) from error

    @staticmethod
    def _record_batches(file: pa.MemoryMappedFile) -> Iterator[pa.RecordBatch]:
        try:
            opened = pa.ipc.open_file(file)
        except pa.ArrowInvalid:
            file.seek(0)
            yield from pa.ipc.open_stream(file)
            return
        for index in range(opened.num_record_batches):
            yield opened.get_batch(index)


def _list_groups(metadata: pq.FileMetaData) -> list[pq.RowGroupMetaData]:
    return [metadata.row_group(index) for index in range(metadata.num_row_groups)]


def _list_names(metadata: pq.FileMetaData) -> list[str]:
    names: list[str] = metadata.schema.to_arrow_schema().names
    return names


def _choose_step(metadata: pq.FileMetaData, rows: int | None) -> int:
    """Choose how many rows make a batch by their size."""
    size = sum(group.total_byte_size for group in _list_groups(metadata))
    return min(rows or MOST_ROWS, max(1, int(BATCH_BYTES * metadata.num_rows / max(size, 1))), MOST_ROWS)


def _is_vast(metadata: pq.FileMetaData) -> bool:
    return max((group.total_byte_size for group in _list_groups(metadata)), default=0) > 2 * BATCH_BYTES


def _plan_spans(metadata: pq.FileMetaData, rows: int | None) -> list[tuple[int, int]]:
    heights = [group.num_rows for group in _list_groups(metadata)]
    step = _choose_step(metadata, rows)
    most = min(MOST_ROWS, max([step, *heights]))  # a group is decoded whole anyhow
    return _plan_slices(heights, step if rows else most)


def _plan_slices(heights: Sequence[int], most: int) -> list[tuple[int, int]]:
    """Offset and length of slices of at most ``most`` rows that begin and end with a row group where they can."""
    spans: list[tuple[int, int]] = []
    offset = 0
    for height in heights:
        if spans and spans[-1][1] + height <= most:
            spans[-1] = (spans[-1][0], spans[-1][1] + height)
        else:
            spans += [(offset + at, min(most, height - at)) for at in range(0, height, most)]
        offset += height
    return spans


def _pick_columns(columns: Sequence[str] | None, names: Sequence[str]) -> list[str] | None:
    """Pick the columns that this file has; None (all) where it has none of them, so that its rows are counted."""
    return [name for name in columns or () if name in names] or None


def _validate_batch(batch: pa.RecordBatch) -> pa.Table:
    """Return a batch whose buffers hold what their types say, texts in UTF-8 above all, which Polars takes on trust."""
    batch.validate(full=True)
    return pa.Table.from_batches([batch])


def _convert_table(table: pa.Table) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(table))


def _parts(frame: pl.DataFrame, rows: int) -> Iterator[pl.DataFrame]:
    return (frame.slice(offset, rows) for offset in range(0, frame.height, rows))


def refuse_duplicates(names: Sequence[str], path: str) -> None:
    """Raise a `DataError` where several columns have one name."""
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise DataError(
            f"several columns are named {', '.join(map(repr, twice))}",
            remedy="rename or drop all but one of each",
            place=Place(path, column=twice[0]),
        )


def _describe_damage(path: str, form: str, error: BaseException) -> UnreadableFile:
    reason = next(chain(str(error).splitlines(), [type(error).__name__]))[:300]
    return UnreadableFile(
        f"not readable as {form}: {reason}",
        remedy="fetch or write the file again; a name must end as the format asks",
        place=Place(path),
    )
