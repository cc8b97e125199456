"""Inputs that can be read only once (standard input, named pipes), or are elsewhere, kept in temporary files."""

from __future__ import annotations

import atexit
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from prefboost.addresses import find_address
from prefboost.errors import Place, PrefboostError, UnreadableFile
from prefboost.sources.readers.content import detect_ending
from prefboost.sources.readers.raw import RawBatch, Reader
from prefboost.sources.readers.remote import fetch_input

__all__ = ["SpooledReader", "is_stream", "rename_faults", "spool_stream"]

_STREAM = re.compile(r"-|/dev/(stdin|fd/\d+)|/proc/(self|\d+)/fd/\d+")

_SPOOLED: dict[tuple[int, ...], Path] = {}
"""Streams that were read already, by device, inode, size and time of change.

A verb opens its input several times (for the guess, the scale, the rows, its fingerprint), and a stream gives its bytes
once. So every stream is read once per process, and its file lives until the process ends.
"""


def is_stream(path: str) -> bool:
    """Tell whether a path is standard input, a pipe or a device, which gives its bytes once."""
    place = Path(path)
    try:
        if _STREAM.fullmatch(path) is not None and not (path == "-" and place.exists()):
            return True
        return place.exists() and not place.is_file() and not place.is_dir()
    except (OSError, ValueError):
        return False  # no file can have this name


def spool_stream(path: str) -> Path | None:
    """Copy a stream to a temporary file whose ending tells the format that its bytes show.

    Args:
        path: as the user named it; ``-`` is standard input, unless a file has that name; an address of fsspec.

    Returns:
        The file, in the system's temporary folder (``TMPDIR``), or of several files at an address their folder; None
        where the path is no stream.

    Raises:
        UnreadableFile: standard input is a terminal, the device never ends, or the bytes show no known format.
    """
    if (address := find_address(path)) is not None:
        return fetch_input(address)
    if not is_stream(path):
        return None
    place = Path(path)
    try:
        status = os.fstat(sys.__stdin__.fileno() if sys.__stdin__ else 0) if path == "-" else place.stat()
    except (OSError, ValueError) as error:
        raise UnreadableFile(
            "there is nothing to read from", remedy=f"COMMAND | prefboost ... {path}", place=Place(path)
        ) from error
    if stat.S_ISCHR(status.st_mode):
        raise UnreadableFile(
            "this is a terminal or a device, not a stream of rows",
            remedy=f"give a file, or the output of a command: COMMAND | prefboost ... {path}",
            place=Place(path),
        )
    # A regular file behind a stream is known by its size and time too: its inode may be used again.
    key = (
        status.st_dev,
        status.st_ino,
        *([status.st_size, status.st_mtime_ns] if stat.S_ISREG(status.st_mode) else []),
    )
    if key not in _SPOOLED:
        _SPOOLED[key] = _copy_stream(path)
    return _SPOOLED[key]


def _copy_stream(path: str) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="prefboost-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    whole = folder / "stream"
    with open(0 if path == "-" else path, "rb", closefd=path != "-") as stream, whole.open("wb") as file:
        shutil.copyfileobj(stream, file, 1 << 20)
    if whole.stat().st_size == 0:
        raise UnreadableFile(
            "the stream is empty (0 bytes)", remedy="look at the command before the pipe", place=Place(path)
        )
    ending = detect_ending(whole)
    if ending is None:
        raise UnreadableFile(
            "the bytes are neither Parquet, Arrow, JSON nor CSV with a header",
            remedy="write them to a file whose ending tells their format, and give that",
            place=Place(path),
        )
    return whole.rename(whole.with_suffix(ending))


@dataclass(frozen=True)
class SpooledReader:
    """The records of a stream or address; rejects and errors name it as the user did.

    Args:
        path: as the user named it.
        reader: of the temporary file or folder.
        base: what the temporary path stands for; of a pattern with ``*`` that is its folder. None: the path.
    """

    path: str
    reader: Reader
    base: str | None = None

    def batches(self, columns: Sequence[str] | None, rows: int | None) -> Iterator[RawBatch]:
        """See `prefboost.sources.readers.raw.Reader`."""
        temporary, base = self.reader.path, self.base or self.path
        with rename_faults(temporary, base):
            for batch in self.reader.batches(columns, rows):
                named = pl.col("path", "found").str.replace_all(temporary, base, literal=True)
                yield replace(batch, rejects=batch.rejects.with_columns(named))


@contextmanager
def rename_faults(temporary: str, name: str) -> Iterator[None]:
    """Name a temporary path as the user did in errors of the block."""
    try:
        yield
    except PrefboostError as error:
        place = error.place
        if place is not None and place.path is not None:
            place = replace(place, path=place.path.replace(temporary, name))
        message, remedy = (text.replace(temporary, name) for text in (error.message, error.remedy))
        if (place, message, remedy) == (error.place, error.message, error.remedy):
            raise
        raise type(error)(message, remedy=remedy, place=place) from error
