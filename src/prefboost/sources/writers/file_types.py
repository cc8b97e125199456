"""File types: rows to Parquet, and to JSON lines with or without compression."""

from __future__ import annotations

import gzip
import io
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any

import polars as pl

from prefboost.errors import DataError, Place

__all__ = [
    "FILE_TYPES",
    "LEVEL",
    "LINE",
    "FileType",
    "cut_groups",
    "find_file_type",
    "names_single_file",
    "write_groups",
]

LINE = "\0line"
"""Name of the only column of a frame that holds finished JSON lines."""

LEVEL = 1
"""Of zstd in Parquet. Polars' own default, 3, takes half as long again for an eighth less room."""

_GROUP_ROWS = 50_000
"""Rows of a row group of Parquet: what a process has to hold to write a file of any length."""

_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class FileType:
    """A way to write rows. The same rows in the same pieces always give the same bytes.

    Args:
        ending: of file names, without the first dot.
        is_json: whether messages are JSON objects, which may have keys of their own.
        write: a whole file.
        write_all: a whole file of frames that follow each other; its bytes do not depend on where these are cut.
        write_piece: a quickly written piece of a file that `join` makes of several.
        join: pieces, in order, to one file.
    """

    ending: str
    is_json: bool
    write: Callable[[pl.DataFrame, Path], None]
    write_all: Callable[[Iterable[pl.DataFrame], Path], None]
    write_piece: Callable[[pl.DataFrame, Path], None]
    join: Callable[[Iterable[Path], Path], None]


def names_single_file(path: Path) -> bool:
    """Tell whether an output's name is that of one file: it ends in a type that is written."""
    return any(path.name.endswith(f".{ending}") for ending in FILE_TYPES)


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


class _InBlocks(io.RawIOBase):
    """Passes bytes on in blocks of one size: what a compressor writes depends on the sizes that it is given."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._waiting = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._waiting += data
        whole = len(self._waiting) // _BLOCK_BYTES * _BLOCK_BYTES
        for start in range(0, whole, _BLOCK_BYTES):
            self._stream.write(self._waiting[start : start + _BLOCK_BYTES])
        del self._waiting[:whole]
        return len(data)

    def finish(self) -> None:
        """Pass on the last block, which may be shorter."""
        self._stream.write(self._waiting)


@contextmanager
def _open_gzip(path: Path) -> Iterator[IO[bytes]]:
    """Write no name and no time into the file, so that equal rows give equal bytes."""
    with path.open("wb") as raw, gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as stream:
        blocks = _InBlocks(stream)  # type: ignore[arg-type]
        yield blocks  # type: ignore[misc]
        blocks.finish()


@contextmanager
def _open_zstd(path: Path) -> Iterator[IO[bytes]]:
    import zstandard

    with zstandard.open(path, "wb") as stream:
        blocks = _InBlocks(stream)
        yield blocks  # type: ignore[misc]
        blocks.finish()


def cut_groups(frames: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Cut frames that follow each other anew into frames of `_GROUP_ROWS` rows, each in one piece; at least one."""
    first: pl.DataFrame | None = None
    waiting: list[pl.DataFrame] = []
    count, yielded = 0, False
    for frame in frames:
        first = frame if first is None else first
        if frame.height:
            waiting.append(frame)
            count += frame.height
        while count >= _GROUP_ROWS:
            held = pl.concat(waiting)
            yield held.head(_GROUP_ROWS).rechunk()
            waiting, count, yielded = [held.slice(_GROUP_ROWS)], count - _GROUP_ROWS, True
    if count:
        yield pl.concat(waiting).rechunk()
    elif not yielded and first is not None:
        yield first


def write_groups(groups: Iterable[pl.DataFrame], path: Path, **options: Any) -> None:
    """Write frames to Parquet, a row group each, so that one of them at a time is in memory.

    Args:
        groups: one at least.
        path: the file.
        options: of `pyarrow.parquet.ParquetWriter`.
    """
    import pyarrow.parquet as pq

    writer = None
    try:
        for group in groups:
            table = group.to_arrow()
            writer = writer or pq.ParquetWriter(path, table.schema, **options)
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()


def _write_parquet(frame: pl.DataFrame, path: Path) -> None:
    # In one piece, since the bytes depend on where a frame's pieces end.
    frame.rechunk().write_parquet(path, compression="zstd", compression_level=LEVEL)


def _write_all_parquet(frames: Iterable[pl.DataFrame], path: Path) -> None:
    groups = cut_groups(frames)
    first, second = next(groups), next(groups, None)
    if second is None:
        _write_parquet(first, path)
        return
    # Polars cuts row groups where the frames end that it is given, and appends none to a file.
    write_groups(chain((first, second), groups), path, compression="zstd", compression_level=LEVEL)


def _build_lines_type(ending: str, opened: Callable[[Path], AbstractContextManager[IO[bytes]]]) -> FileType:
    def write_all(frames: Iterable[pl.DataFrame], path: Path) -> None:
        with opened(path) as stream:
            for frame in frames:
                _write_lines(frame, stream)

    def write_piece(frame: pl.DataFrame, path: Path) -> None:
        with path.open("wb") as stream:
            _write_lines(frame, stream)

    def join(pieces: Iterable[Path], path: Path) -> None:
        with opened(path) as stream:
            for piece in pieces:
                with piece.open("rb") as source:
                    shutil.copyfileobj(source, stream, 1 << 20)

    return FileType(ending, True, lambda frame, path: write_all([frame], path), write_all, write_piece, join)


FILE_TYPES: dict[str, FileType] = {
    "parquet": FileType(
        "parquet",
        False,
        _write_parquet,
        _write_all_parquet,
        lambda frame, path: frame.write_ipc(path, compression="lz4"),
        lambda pieces, path: pl.scan_ipc(list(pieces)).sink_parquet(
            path, compression="zstd", compression_level=LEVEL, row_group_size=_GROUP_ROWS, maintain_order=True
        ),
    ),
    "jsonl": _build_lines_type("jsonl", lambda path: path.open("wb")),
    "jsonl.gz": _build_lines_type("jsonl.gz", _open_gzip),
    "jsonl.zst": _build_lines_type("jsonl.zst", _open_zstd),
}
"""Every file type that can be written, by ending."""
