"""Frames that wait on disk."""

from __future__ import annotations

import io
from collections.abc import Sequence

import polars as pl

from prefboost.scratch import ScratchFile

__all__ = ["FrameFile"]


class FrameFile:
    """Frames of the same columns on disk."""

    def __init__(self) -> None:
        self.schema = pl.Schema()
        self.heights: list[int] = []
        """Rows of each frame."""
        # Place and length of each.
        self._frames: list[tuple[int, int]] = []
        self._file = ScratchFile()

    def add(self, frame: pl.DataFrame) -> int:
        """Add a frame; return its number, from 0."""
        self.schema = frame.schema
        content = io.BytesIO()
        frame.write_ipc(content, compression="lz4")
        self._frames.append((self._file.append(content.getbuffer()), content.tell()))
        self.heights.append(frame.height)
        return len(self._frames) - 1

    def read(self, number: int, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Read a frame; texts of columns that are not asked for are not decoded."""
        names = None if columns is None else list(columns)
        return pl.read_ipc(io.BytesIO(self._file.read(*self._frames[number])), columns=names)
