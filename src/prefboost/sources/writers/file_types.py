"""File types: rows to Parquet, and to JSON lines with or without compression."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import polars as pl

from prefboost.errors import DataError, Place

__all__ = ["FILE_TYPES", "LEVEL", "LINE", "FileType", "find_file_type"]

LINE = "\0line"
"""Name of the only column of a frame that holds finished JSON lines."""

LEVEL = 1
"""Of zstd in Parquet. Polars' own default, 3, takes half as long again for an eighth less room."""

_JOIN_ROWS = 50_000


@dataclass(frozen=True)
class FileType:
    """A way to write rows. The same rows in the same pieces always give the same bytes.

    Args:
        ending: of file names, without the first dot.
        is_json: whether messages are JSON objects, which may have keys of their own.
        write: a whole file.
        write_piece: a quickly written piece of a file that `join` makes of several.
        join: pieces, in order, to one file.
    """

    ending: str
    is_json: bool
    write: Callable[[pl.DataFrame, Path], None]
    write_piece: Callable[[pl.DataFrame, Path], None]
    join: Callable[[Sequence[Path], Path], None]


def find_file_type(path: Path) -> FileType:
    """Find the file type that a name's ending asks for.

    Raises:
        DataError: none.
    """
    for ending, kind in FILE_TYPES.items():
        if path.name.endswith(f".{ending}"):
            return kind
    raise DataError(
        f"no known file type ends in {path.suffix or 'nothing'}",
        remedy=f"name it with one of: {', '.join('.' + ending for ending in FILE_TYPES)}",
        place=Place(str(path)),
    )


def _write_lines(frame: pl.DataFrame, stream: IO[bytes]) -> None:
    if frame.columns == [LINE]:
        for line in frame[LINE]:
            stream.write(line.encode() + b"\n")
    else:
        frame.write_ndjson(stream)


@contextmanager
def _open_gzip(path: Path) -> Iterator[IO[bytes]]:
    """Write no name and no time into the file, so that equal rows give equal bytes."""
    with path.open("wb") as raw, gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as stream:
        yield stream  # type: ignore[misc]


@contextmanager
def _open_zstd(path: Path) -> Iterator[IO[bytes]]:
    import zstandard

    with zstandard.open(path, "wb") as stream:
        yield stream


def _build_lines_type(ending: str, opened: Callable[[Path], AbstractContextManager[IO[bytes]]]) -> FileType:
    def write(frame: pl.DataFrame, path: Path) -> None:
        with opened(path) as stream:
            _write_lines(frame, stream)

    def write_piece(frame: pl.DataFrame, path: Path) -> None:
        with path.open("wb") as stream:
            _write_lines(frame, stream)

    def join(pieces: Sequence[Path], path: Path) -> None:
        with opened(path) as stream:
            for piece in pieces:
                with piece.open("rb") as source:
                    shutil.copyfileobj(source, stream, 1 << 20)

    return FileType(ending, True, write, write_piece, join)


FILE_TYPES: dict[str, FileType] = {
    "parquet": FileType(
        "parquet",
        False,
        # In one piece, since the bytes depend on where a frame's pieces end.
        lambda frame, path: frame.rechunk().write_parquet(path, compression="zstd", compression_level=LEVEL),
        lambda frame, path: frame.write_ipc(path, compression="lz4"),
        lambda pieces, path: pl.scan_ipc(list(pieces)).sink_parquet(
            path, compression="zstd", compression_level=LEVEL, row_group_size=_JOIN_ROWS, maintain_order=True
        ),
    ),
    "jsonl": _build_lines_type("jsonl", lambda path: path.open("wb")),
    "jsonl.gz": _build_lines_type("jsonl.gz", _open_gzip),
    "jsonl.zst": _build_lines_type("jsonl.zst", _open_zstd),
}
"""Every file type that can be written, by ending."""
