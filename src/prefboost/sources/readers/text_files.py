"""Text files, plain or compressed: bytes in, blocks of whole lines out; CSV rows."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from prefboost.errors import Place, UnreadableFile
from prefboost.sources.readers.encodings import NOT_UTF8, as_utf8, has_undecoded
from prefboost.sources.readers.remote import open_bytes

__all__ = ["BrokenRow", "Block", "read_byte_chunks", "read_csv_rows", "read_line_blocks"]

CHUNK_BYTES = 1 << 20
GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
LONGEST_CELL = 2**31 - 1
STRAY_QUOTE = "a quote in the row opens or ends no cell (inside a cell write two of them, as RFC 4180 says)"
OTHER_CELLS = "the row has another number of cells than the header"


@dataclass(frozen=True)
class Block:
    """Whole lines of a text file: ``text`` and the number of its first line, from 1."""

    text: bytes
    line: int


def read_byte_chunks(path: Path) -> Iterator[bytes]:
    """Read the decompressed bytes of a file; gzip and zstd are recognised by their first bytes, not by the name.

    UTF-16 and UTF-32, which spreadsheets and shells on Windows write, become UTF-8.

    Raises:
        UnreadableFile: the file cannot be opened, or its compressed data or its UTF-16 are cut off or damaged.
    """
    try:
        yield from as_utf8(_unpack(path))
    except UnicodeDecodeError as error:
        raise _describe_damage(path, f"the text is damaged or cut off: {error.encoding}, {error.reason}") from error


def _unpack(path: Path) -> Iterator[bytes]:
    try:
        with open_bytes(path) as file:
            head = file.read(4)
            file.seek(0)
            if head.startswith(GZIP_MAGIC):
                with gzip.open(file, "rb") as unpacked:
                    yield from iter(lambda: unpacked.read(CHUNK_BYTES), b"")
            elif head == ZSTD_MAGIC:
                yield from _unzstd(file, path)
            else:
                yield from iter(lambda: file.read(CHUNK_BYTES), b"")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _describe_damage(path, f"the gzip data are damaged or cut off ({error})") from error
    except OSError as error:
        raise UnreadableFile(
            f"cannot be read: {error.strerror or error}", remedy="check the path", place=Place(str(path))
        ) from error


def _unzstd(file: BinaryIO, path: Path) -> Iterator[bytes]:
    import zstandard

    frame = zstandard.ZstdDecompressor().decompressobj()
    try:
        for packed in iter(lambda: file.read(CHUNK_BYTES), b""):
            # A file may hold several frames: parallel compressors and `cat` write them.
            rest = packed
            while rest:
                if frame.eof:
                    frame = zstandard.ZstdDecompressor().decompressobj()
                unpacked = frame.decompress(rest)
                rest = frame.unused_data if frame.eof else b""
                if unpacked:
                    yield unpacked
    except zstandard.ZstdError as error:
        raise _describe_damage(path, f"the zstd data are damaged ({error})") from error
    if not frame.eof:
        raise _describe_damage(path, "the zstd data are cut off")


def _describe_damage(path: Path, fault: str) -> UnreadableFile:
    return UnreadableFile(fault, remedy="fetch or write the file again", place=Place(str(path)))


def read_line_blocks(path: Path, block_bytes: int) -> Iterator[Block]:
    """Read blocks of about ``block_bytes``, each ending at a line's end; a byte order mark is dropped.

    Args:
        path: the file.
        block_bytes: about how large a block is.
    """
    pending: list[bytes] = []
    size, line, first = 0, 1, True
    for piece in read_byte_chunks(path):
        chunk = piece.removeprefix(BYTE_ORDER_MARK) if first else piece
        first = False
        pending.append(chunk)
        size += len(chunk)
        if size < block_bytes or b"\n" not in chunk:
            continue
        whole, _, tail = b"".join(pending).rpartition(b"\n")
        yield Block(whole, line)
        line += whole.count(b"\n") + 1
        pending, size = [tail], len(tail)
    rest = b"".join(pending)
    if rest:
        yield Block(rest, line)


class BrokenRow(list[str]):
    """A line of a CSV file that is no row: its text as the only cell; ``why`` holds the reason of its reject, what is
    wrong, and the beginning of the line.
    """

    def __init__(self, line: str, reason: str, wrong: str) -> None:
        super().__init__([line])
        beginning = line.rstrip("\n")[:160].encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        self.why = (reason, wrong, beginning)


def read_csv_rows(path: Path, delimiter: str, *, recover: bool = False) -> Iterator[tuple[int, list[str]]]:
    """Read rows of a CSV file, each with the number of its last line; bytes that are no UTF-8 become lone surrogates.

    Args:
        path: the file.
        delimiter: between cells.
        recover: give rows with stray quotes, with other numbers of cells than the header, and rows that are not UTF-8
            as `BrokenRow`, and go on behind them.

    Raises:
        UnreadableFile: the header is broken; without ``recover``, any row is.
    """
    csv.field_size_limit(LONGEST_CELL)
    pieces = (block.text.removesuffix(b"\n").split(b"\n") for block in read_line_blocks(path, CHUNK_BYTES))
    lines = _Lines(line.decode("utf-8", "surrogateescape") + "\n" for piece in pieces for line in piece)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    recovery = _Recovery()
    while True:
        lines.begin_row()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            place = Place(str(path), line=lines.number)
            if not (recover and recovery.width):
                bare = "new-line character" in str(error)  # lines that end in CR alone, as old Macs wrote them
                remedy = "tr '\\r' '\\n' < FILE > FILE.csv" if bare else "quote cells as RFC 4180 says"
                raise UnreadableFile(f"not readable as CSV: {error}", remedy=remedy, place=place) from error
            # Read on behind the first line of the row, since a quote that nobody closed takes many rows for one cell.
            yield lines.rewind(), BrokenRow(lines.taken[0], STRAY_QUOTE, str(error))
            reader = csv.reader(lines, delimiter=delimiter, strict=True)
            recovery.in_pieces = True
            continue
        if not recover or not cells:
            yield lines.number, cells
        elif has_undecoded("".join(cells)):
            if not recovery.width:
                raise UnreadableFile(
                    "the header is not UTF-8 text",
                    remedy="convert the file, e.g. iconv -f WINDOWS-1252 -t UTF-8 FILE",
                    place=Place(str(path), line=1),
                )
            yield lines.number, BrokenRow(delimiter.join(cells), NOT_UTF8, "bytes that are no UTF-8")
        elif not recovery.is_row(cells):
            yield lines.rewind(), BrokenRow(lines.taken[0], STRAY_QUOTE, "a piece of a row with a stray quote")
            reader = csv.reader(lines, delimiter=delimiter, strict=True)
        elif len(cells) != recovery.width:
            wrong = f"{len(cells)} cells where the header has {recovery.width}"
            yield lines.number, BrokenRow(delimiter.join(cells), OTHER_CELLS, wrong)
        else:
            yield lines.number, cells


class _Lines:
    """Lines of a file for a CSV reader, which can be sent back to the second line of the row it is reading."""

    def __init__(self, lines: Iterator[str]) -> None:
        self.lines = lines
        self.taken: list[str] = []
        self.number = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = next(self.lines)
        self.taken.append(line)
        self.number += 1
        return line

    def begin_row(self) -> None:
        """Let go of the lines of the row before."""
        self.taken = []

    def rewind(self) -> int:
        """Go back to the second line of this row; the number of its first."""
        again = self.taken[1:]
        self.lines = chain(again, self.lines)
        self.number -= len(again)
        return self.number


class _Recovery:
    """Tells rows from pieces of a broken row: cells as many as in the header, and numbers where all rows had them."""

    def __init__(self) -> None:
        self.width = 0
        self.numeric: set[int] | None = None
        self.in_pieces = False  # whether a row was broken, and what follows may be pieces of it

    def is_row(self, cells: list[str]) -> bool:
        """Tell whether the cells are a row, not a piece of a broken one; learns from those that are."""
        if not self.width:
            self.width = len(cells)
            return True
        if self.in_pieces and not self._fits(cells):
            return False
        self.in_pieces = False
        if len(cells) == self.width:
            numbers = {at for at, cell in enumerate(cells) if _is_number(cell)}
            self.numeric = numbers if self.numeric is None else self.numeric & numbers
        return True

    def _fits(self, cells: list[str]) -> bool:
        return len(cells) == self.width and all(_is_number(cells[at]) for at in self.numeric or ())


def _is_number(cell: str) -> bool:
    try:
        float(cell or "0")
    except ValueError:
        return False
    return True
