"""Pieces joined to one file are the file written at once."""

from __future__ import annotations

import gzip
from pathlib import Path

import polars as pl
import pytest
import zstandard

from prefboost.errors import DataError
from prefboost.sources.writers.file_types import FILE_TYPES, find_file_type

FRAME = pl.DataFrame({"a": [f"text {number}" for number in range(1000)], "b": [[{"x": n}] for n in range(1000)]})


def read(path: Path) -> pl.DataFrame:
    packed = path.read_bytes()
    if path.suffix == ".parquet":
        return pl.read_parquet(path)
    unpacked = gzip.decompress(packed) if path.suffix == ".gz" else packed
    if path.suffix == ".zst":
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


def test_the_longest_ending_counts() -> None:
    assert find_file_type(Path("a.jsonl.gz")) is FILE_TYPES["jsonl.gz"]
    assert find_file_type(Path("a.b.parquet")) is FILE_TYPES["parquet"]
    with pytest.raises(DataError, match=r"ends in \.txt"):
        find_file_type(Path("a.txt"))
