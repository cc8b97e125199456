"""Pieces of files: raw batches that can be read by themselves, in any order and on any machine that sees the files.

A reader streams; a piece of it knows where its records begin. Read one by one, the pieces of a reader give the batches
that it streams. Files whose records cannot be found without reading all before them (compressed text, CSV, a JSON
array, Arrow) are read once, and their batches are stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from prefboost.addresses import find_address
from prefboost.errors import Place, UnreadableFile
from prefboost.sources.readers.binary_files import ParquetReader
from prefboost.sources.readers.files import JsonReader, Readers
from prefboost.sources.readers.frames import read_frame, write_frame
from prefboost.sources.readers.raw import ROW, RawBatch, Reader, WrappedReader
from prefboost.sources.readers.remote import find_file_version, read_range
from prefboost.sources.readers.split_files import list_split_values
from prefboost.sources.readers.text_files import BYTE_ORDER_MARK

__all__ = ["Member", "Piece", "PieceReader", "list_members", "number_pieces", "plan_pieces", "replace_innermost"]


@dataclass(frozen=True)
class Piece:
    """A batch of one file.

    Args:
        reader: of the file; of a stored batch the folder that it lies in.
        begin: first row (Parquet), first byte (JSON lines) or number of the batch (stored).
        length: rows, bytes, or frames of the batch.
        records: how many there are, rejected ones included.
        line: number of the first line, from 1.
        first: number of the first record; in the file, and after `number_pieces` in the source.
        split: the value of the column ``split`` of records that have none.
        prunes: whether columns may be left out.
    """

    reader: ParquetReader | JsonReader | str
    begin: int
    length: int
    records: int
    line: int = 1
    first: int = 0
    split: str | None = None
    prunes: bool = True

    def read(self, columns: Sequence[str] | None) -> RawBatch:
        """Read the records, numbered as in the whole source."""
        if isinstance(self.reader, ParquetReader):
            batch = self.reader.read_slice(self.begin, self.length, columns if self.prunes else None)
        elif isinstance(self.reader, JsonReader):
            batch = self.reader.read_bytes(self.begin, self.length, self.line)
        else:
            frames = [read_frame(_locate_frame(self.reader, self.begin, at)) for at in range(self.length)]
            batch = RawBatch(tuple(frames), read_frame(_locate_frame(self.reader, self.begin, "rejects")))
        # Records that name their split themselves keep it.
        named = [] if self.split is None else [pl.lit(self.split).alias("split")]
        frames = [
            frame.with_columns(pl.col(ROW) + self.first, *([] if "split" in frame.columns else named))
            for frame in batch.frames
        ]
        return RawBatch(tuple(frames), batch.rejects.with_columns(pl.col("row") + self.first))


@dataclass(frozen=True)
class PieceReader:
    """A `Reader` of some pieces.

    Args:
        path: the path of the source as it was asked for.
        pieces: in order.
    """

    path: str
    pieces: tuple[Piece, ...]

    def batches(self, columns: Sequence[str] | None, rows: int | None) -> Iterator[RawBatch]:
        """Yield one batch per piece, whatever ``rows`` says: they were cut to that when they were planned."""
        for piece in self.pieces:
            yield piece.read(columns)


@dataclass(frozen=True)
class Member:
    """One file of a source, or all of a source that is no files.

    Args:
        reader: of its records.
        split: the value of the column ``split`` of records that have none.
        prunes: whether columns may be left out.
    """

    reader: Reader
    split: str | None = None
    prunes: bool = True

    @property
    def is_cut(self) -> bool:
        """Whether its pieces are found without parsing it; else one reader has to read it all."""
        if isinstance(self.reader, ParquetReader):
            return not self.reader.is_vast()
        return isinstance(self.reader, JsonReader) and self.reader.holds_plain_lines()


def list_members(reader: Reader) -> list[Member]:
    """List the files that the innermost reader of a source reads, in order."""
    while isinstance(reader, WrappedReader):
        reader = reader.reader
    if not isinstance(reader, Readers):
        return [Member(reader)]
    splits: Sequence[str | None] = list_split_values(reader.splits) or [None] * len(reader.members)
    # In a file with other columns, a part may have another name, which a selection would drop.
    prunes = reader.has_equal_columns()
    return [Member(each, split, prunes) for each, split in zip(reader.members, splits, strict=True)]


def plan_pieces(member: Member, rows: int | None, store: Path) -> list[Piece]:
    """Find the pieces of a file, each of them a batch that its reader yields; their numbers begin at 0.

    Args:
        member: the file.
        rows: records per batch, about, as in `prefboost.sources.readers.raw.Reader`.
        store: folder for the batches of a file that cannot be cut; it is visible wherever they will be read.
    """
    reader = member.reader
    if not member.is_cut:
        pieces = _store_batches(reader, rows, store)
    elif isinstance(reader, ParquetReader):
        spans = reader.plan_slices(rows)
        pieces = [Piece(reader, offset, length, length) for offset, length in spans]
    else:
        assert isinstance(reader, JsonReader)
        begin = len(BYTE_ORDER_MARK) if read_range(reader.path, 0, 3) == BYTE_ORDER_MARK else 0
        pieces = []
        for block in reader.cut_blocks(rows):
            records = sum(1 for line in block.text.split(b"\n") if line.strip())
            if records:
                pieces.append(Piece(reader, begin, len(block.text), records, block.line))
            begin += len(block.text) + 1
        far = find_address(reader.path)
        if begin - (Path(reader.path).stat().st_size if far is None else find_file_version(far)[0]) not in (0, 1):
            raise UnreadableFile(
                "the file changed while it was read", remedy="wait until it is written", place=Place(reader.path)
            )
    return [replace(piece, split=member.split, prunes=member.prunes) for piece in pieces]


def number_pieces(files: Sequence[Sequence[Piece]]) -> list[Piece]:
    """Put the pieces of several files one after the other; records are counted on."""
    first, numbered = 0, []
    for piece in (piece for pieces in files for piece in pieces):
        numbered.append(replace(piece, first=first))
        first += piece.records
    return numbered


def replace_innermost(reader: Reader, inner: Reader) -> Reader:
    """Return the same chain of readers around another innermost one."""
    if not isinstance(reader, WrappedReader):
        return inner
    chain: Reader = replace(reader, reader=replace_innermost(reader.reader, inner))
    return chain


def _store_batches(reader: Reader, rows: int | None, store: Path) -> list[Piece]:
    if find_address(store) is None:
        store.mkdir(parents=True, exist_ok=True)
    pieces, first = [], 0
    for number, batch in enumerate(reader.batches(None, rows)):
        # Numbered from 0 within the batch: `Piece.read` counts on.
        for at, frame in enumerate(batch.frames):
            write_frame(frame.with_columns(pl.col(ROW) - first), _locate_frame(str(store), number, at))
        rejects = batch.rejects.with_columns(pl.col("row") - first)
        write_frame(rejects, _locate_frame(str(store), number, "rejects"))
        pieces.append(Piece(str(store), number, len(batch.frames), batch.records))
        first += batch.records
    return pieces


def _locate_frame(store: str, number: int, part: int | str) -> Path:
    return Path(store) / f"{number:06d}.{part}.arrow"
