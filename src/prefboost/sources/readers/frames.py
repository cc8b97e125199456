"""Arrow frames in files of a folder that many processes share, on a disk or at an address."""

from __future__ import annotations

import io
import uuid
from fnmatch import fnmatchcase
from pathlib import Path

import polars as pl

from prefboost.addresses import find_address
from prefboost.shelf import open_shelf

__all__ = ["list_frames", "read_frame", "write_frame"]


def write_frame(frame: pl.DataFrame, place: Path) -> None:
    """Write a frame whole or not at all: a task may die, or run twice at once."""
    if find_address(place) is not None:
        content = io.BytesIO()
        frame.write_ipc(content, compression="lz4")
        open_shelf(place.parent).write(place.name, content.getvalue(), durable=False)
        return
    # Not named by the process: two machines that share the disk may have one of the same number.
    waiting = place.with_name(f".{place.name}.{uuid.uuid4().hex}")
    frame.write_ipc(waiting, compression="lz4")
    waiting.replace(place)


def read_frame(place: Path) -> pl.DataFrame:
    """Read a frame that `write_frame` wrote."""
    if find_address(place) is not None:
        return pl.read_ipc(io.BytesIO(open_shelf(place.parent).read(place.name)))
    return pl.read_ipc(place)


def list_frames(folder: Path, pattern: str) -> list[Path]:
    """List the files of a folder whose names match a pattern with ``*``, in order."""
    if find_address(folder) is not None:
        return [folder / name for name in sorted(open_shelf(folder).list_files("")) if fnmatchcase(name, pattern)]
    return sorted(folder.glob(pattern))
