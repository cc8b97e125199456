"""Frames are the same on a disk and at an address, and appear whole."""

from __future__ import annotations

import uuid
from pathlib import Path

import polars as pl
import pytest

from prefboost.sources.readers.frames import list_frames, read_frame, write_frame


@pytest.mark.parametrize("kind", ["disk", "memory", "file"])
def test_frames_are_written_listed_in_order_and_read(kind: str, tmp_path: Path) -> None:
    places = {"disk": tmp_path, "memory": Path(f"memory://{uuid.uuid4().hex}/x"), "file": Path(f"file://{tmp_path}")}
    folder, frame = places[kind], pl.DataFrame({"a": [1, 2], "b": [["x"], []]})
    for name in ("hashes.1.arrow", "hashes.0.arrow", "others.0.arrow"):
        write_frame(frame, folder / name)
    write_frame(frame.head(1), folder / "hashes.0.arrow")
    listed = list_frames(folder, "hashes.*.arrow")
    assert [path.name for path in listed] == ["hashes.0.arrow", "hashes.1.arrow"]
    assert read_frame(listed[0]).equals(frame.head(1)) and read_frame(listed[1]).equals(frame)
    assert list_frames(folder / "none", "*") == []
