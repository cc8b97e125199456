"""Pieces joined to one file are the file written at once."""

from __future__ import annotations

import gzip
from pathlib import Path

import polars as pl
import pytest
import zstandard

from prefboost.errors import DataError
from prefboost.sources.writers import file_types
from prefboost.sources.writers.file_types import FILE_TYPES, find_file_type

FRAME = pl.DataFrame({"a": [f"text {number}" for number in range(1000)], "b": [[{"x": n}] for n in range(1000)]})


def read(path: Path) -> pl.DataFrame:
    return read_back(path, path.name.partition(".")[2])


def read_back(path: Path, ending: str) -> pl.DataFrame:
    packed = path.read_bytes()
    if ending == "parquet":
        return pl.read_parquet(path)
    unpacked = gzip.decompress(packed) if ending.endswith("gz") else packed
    if ending.endswith("zst"):
        unpacked = zstandard.ZstdDecompressor().decompressobj().decompress(packed)
    return pl.read_ndjson(unpacked)


@pytest.mark.parametrize("ending", FILE_TYPES)
def test_joined_pieces_hold_every_row_in_order(ending: str, tmp_path: Path) -> None:
    kind = FILE_TYPES[ending]
    pieces = [tmp_path / f"piece-{number}" for number in range(3)]
    for number, piece in enumerate(pieces):
        kind.write_piece(FRAME.slice(number * 400, 400), piece)
    kind.join(pieces, tmp_path / f"joined.{ending}")
    kind.write(FRAME, tmp_path / f"whole.{ending}")
    assert read(tmp_path / f"joined.{ending}").equals(FRAME)
    assert read(tmp_path / f"whole.{ending}").equals(FRAME)


@pytest.mark.parametrize("ending", FILE_TYPES)
def test_joining_again_gives_the_same_bytes(ending: str, tmp_path: Path) -> None:
    kind = FILE_TYPES[ending]
    pieces = [tmp_path / f"piece-{number}" for number in range(2)]
    for piece in pieces:
        kind.write_piece(FRAME, piece)
    for name in ("a", "b"):
        kind.join(pieces, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("ending", FILE_TYPES)
@pytest.mark.parametrize("rows", [0, 90, 1000])
def test_where_frames_are_cut_does_not_show_in_the_bytes(
    ending: str, rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_types, "_GROUP_ROWS", 90)
    # So small that compressors get many of them.
    monkeypatch.setattr(file_types, "_BLOCK_BYTES", 1000)
    kind, frame, written = FILE_TYPES[ending], FRAME.head(rows), set()
    for size in (1000, 90, 41, 7):
        frames = [frame.slice(start, size) for start in range(0, max(1, rows), size)]
        kind.write_all(frames, tmp_path / "out")
        written.add((tmp_path / "out").read_bytes())
        for number, each in enumerate(frames):
            kind.write_piece(each, tmp_path / f"piece-{number:03d}")
        if kind.is_json:
            kind.join(sorted(tmp_path.glob("piece-*")), tmp_path / "out")
            written.add((tmp_path / "out").read_bytes())
        for piece in tmp_path.glob("piece-*"):
            piece.unlink()
        assert not rows or read_back(tmp_path / "out", ending).equals(frame)
    assert len(written) == 1


def test_the_longest_ending_counts() -> None:
    assert find_file_type(Path("a.jsonl.gz")) is FILE_TYPES["jsonl.gz"]
    assert find_file_type(Path("a.b.parquet")) is FILE_TYPES["parquet"]
    with pytest.raises(DataError, match=r"ends in \.txt"):
        find_file_type(Path("a.txt"))
