"""Text files, plain or compressed: bytes in, blocks of whole lines out; CSV rows."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from prefboost.errors import Place, UnreadableFile

__all__ = ["Block", "byte_chunks", "csv_rows", "line_blocks"]

CHUNK_BYTES = 1 << 20
GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
LONGEST_CELL = 2**31 - 1


@dataclass(frozen=True)
class Block:
    """Whole lines of a text file: ``text`` and the number of its first line, from 1."""

    text: bytes
    line: int


def byte_chunks(path: Path) -> Iterator[bytes]:
    """The decompressed bytes of a file; gzip and zstd are recognised by their first bytes, not by the name.

    Raises:
        UnreadableFile: the file cannot be opened, or its compressed data are cut off or damaged.
    """
    try:
        with path.open("rb") as file:
            head = file.read(4)
            file.seek(0)
            if head.startswith(GZIP_MAGIC):
                yield from _gunzip(file)
            elif head == ZSTD_MAGIC:
                yield from _unzstd(file, path)
            else:
                yield from iter(lambda: file.read(CHUNK_BYTES), b"")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _damaged(path, f"the gzip data are damaged or cut off ({error})") from error
    except OSError as error:
        raise UnreadableFile(
            f"cannot be read: {error.strerror or error}", remedy="check the path", place=Place(str(path))
        ) from error


def _gunzip(file: io.BufferedReader) -> Iterator[bytes]:
    with gzip.open(file, "rb") as unpacked:
        yield from iter(lambda: unpacked.read(CHUNK_BYTES), b"")


def _unzstd(file: io.BufferedReader, path: Path) -> Iterator[bytes]:
    import zstandard

    frame = zstandard.ZstdDecompressor().decompressobj()
    try:
        for packed in iter(lambda: file.read(CHUNK_BYTES), b""):
            rest = packed
            while rest:
                if frame.eof:
                    frame = zstandard.ZstdDecompressor().decompressobj()
                unpacked = frame.decompress(rest)
                rest = frame.unused_data if frame.eof else b""
                if unpacked:
                    yield unpacked
    except zstandard.ZstdError as error:
        raise _damaged(path, f"the zstd data are damaged ({error})") from error
    if not frame.eof:
        raise _damaged(path, "the zstd data are cut off")


def _damaged(path: Path, found: str) -> UnreadableFile:
    return UnreadableFile(found, remedy="fetch or write the file again", place=Place(str(path)))


def line_blocks(path: Path, block_bytes: int) -> Iterator[Block]:
    """Blocks of about ``block_bytes``, each ending at a line's end; a byte order mark is dropped."""
    pending: list[bytes] = []
    size, line, first = 0, 1, True
    for piece in byte_chunks(path):
        chunk = piece.removeprefix(b"\xef\xbb\xbf") if first else piece
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


def csv_rows(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Rows of a CSV file with the number of the line each ends on; bytes that are no UTF-8 become lone surrogates."""
    csv.field_size_limit(LONGEST_CELL)
    reader = csv.reader(_text_lines(path), delimiter=delimiter, strict=True)
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            place = Place(str(path), line=reader.line_num)
            raise UnreadableFile(
                f"not readable as CSV: {error}", remedy="quote cells as RFC 4180 says", place=place
            ) from error
        yield reader.line_num, cells


def _text_lines(path: Path) -> Iterator[str]:
    for block in line_blocks(path, CHUNK_BYTES):
        for line in block.text.removesuffix(b"\n").split(b"\n"):
            yield line.decode("utf-8", "surrogateescape") + "\n"
