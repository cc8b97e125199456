"""Pieces of files, read one by one in any order, are the batches that the reader streams."""

from __future__ import annotations

import gzip
import json
import tempfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from prefboost.sources.readers.decoded import StoredReader
from prefboost.sources.readers.files import JsonReader, Readers, open_file_reader
from prefboost.sources.readers.pieces import (
    PieceReader,
    list_members,
    number_pieces,
    plan_pieces,
    replace_innermost,
)
from prefboost.sources.readers.raw import RawBatch, Reader


def check_pieces(reader: Reader, rows: int | None, columns: list[str] | None = None) -> list[bool]:
    """Compare all pieces, read from the last one on, with the stream; tell which files could be cut."""
    with tempfile.TemporaryDirectory() as folder:
        members = list_members(reader)
        files = [plan_pieces(each, rows, Path(folder) / str(at)) for at, each in enumerate(members)]
        pieces = number_pieces(files)
        read = [piece.read(columns) for piece in reversed(pieces)][::-1]
        streamed = list(reader.batches(columns, rows))
        check_batches(read, streamed)
        assert [piece.records for piece in pieces] == [batch.records for batch in streamed]
        inner = replace_innermost(reader, PieceReader(reader.path, tuple(pieces)))
        check_batches(list(inner.batches(columns, rows)), streamed)
        return [each.is_cut for each in members]


def check_batches(read: list[RawBatch], streamed: list[RawBatch]) -> None:
    assert len(read) == len(streamed)
    for ours, theirs in zip(read, streamed, strict=True):
        assert len(ours.frames) == len(theirs.frames)
        for one, other in zip((*ours.frames, ours.rejects), (*theirs.frames, theirs.rejects), strict=True):
            assert_frame_equal(one, other)


LINES = st.one_of(
    st.builds(lambda text, n: json.dumps({"text": text, "n": n}), st.text(max_size=8), st.integers(0, 9)),
    st.sampled_from(["", "  ", "{broken", '{"text": ["a", "b"]}', "[1]"]),
)


@settings(max_examples=50)
@given(st.lists(LINES, max_size=30), st.sampled_from([None, 1, 3, 7]), st.booleans(), st.booleans())
def test_lines_good_blank_and_broken(lines: list[str], rows: int | None, ends: bool, marked: bool) -> None:
    lines = ['{"text": "first", "n": 0}', *lines]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        path.write_text(("\ufeff" if marked else "") + "\n".join(lines) + "\n" * ends, encoding="utf-8", newline="")
        assert check_pieces(JsonReader(str(path)), rows) == [True]


@settings(max_examples=40)
@given(st.integers(1, 60), st.integers(1, 25), st.sampled_from([None, 1, 4, 9]))
def test_slices_of_parquet(count: int, group: int, rows: int | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        pl.DataFrame({"n": range(count), "text": [f"t{n}" for n in range(count)]}).write_parquet(
            path, row_group_size=group
        )
        assert check_pieces(open_file_reader(path), rows, ["text"]) == [True]


@pytest.mark.parametrize("same", [True, False])
def test_files_are_counted_on_and_keep_the_split_of_their_name(same: bool, tmp_path: Path) -> None:
    names = [{"n": [1, 2, 3]}, {"n": [4, 5], **({} if same else {"m": ["a", "b"]})}]
    for at, columns in enumerate(names):
        pl.DataFrame(columns).write_parquet(tmp_path / f"{at}.parquet")
    members = tuple(open_file_reader(tmp_path / f"{at}.parquet") for at in range(2))
    reader = StoredReader(Readers(str(tmp_path), members, ("train", "test")))
    assert check_pieces(reader, 2, ["n"]) == [True, True]


@pytest.mark.parametrize("name", ["rows.jsonl.gz", "rows.csv", "rows.json", "rows.arrow", "utf16.jsonl"])
def test_files_that_cannot_be_cut_are_stored_batch_by_batch(name: str, tmp_path: Path) -> None:
    frame = pl.DataFrame({"n": [str(n) for n in range(20)], "text": [f"täxt {n}" for n in range(20)]})
    path, lines = tmp_path / name, frame.write_ndjson()
    if name.endswith("gz"):
        path.write_bytes(gzip.compress(lines.encode()))
    elif name.endswith("csv"):
        path.write_text(frame.write_csv() + '"stray quote,\n', encoding="utf-8")
    elif name.endswith("json"):
        path.write_text(json.dumps(frame.to_dicts()), encoding="utf-8")
    elif name.endswith("arrow"):
        frame.write_ipc(path)
    else:
        path.write_text(lines, encoding="utf-16")
    assert check_pieces(open_file_reader(path), 6) == [False]
