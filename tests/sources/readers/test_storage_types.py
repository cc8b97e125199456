"""Dictionaries, bytes and extension types are the values that they stand for."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from prefboost.sources import read
from prefboost.sources.readers.raw import ROW
from prefboost.sources.readers.storage_types import convert_stored_types


def test_dictionary_encoded_and_binary_texts_are_texts_at_any_depth(tmp_path: Path) -> None:
    message = pa.struct([("role", pa.dictionary(pa.int8(), pa.string())), ("content", pa.binary())])
    table = pa.table(
        {
            "prompt": pa.array([[{"role": "user", "content": b"q"}]] * 2, pa.list_(message)),
            "completion": pa.array([b"a", b"b"]),
            "score": [1.0, 2.0],
            "source": pa.array(["s", "s"]).dictionary_encode(),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    frame = read(tmp_path / "a.parquet").frame
    assert frame["prompt"].to_list()[0][0] == {"role": "user", "content": "q", "extra": None}
    assert [row[0]["content"] for row in frame["completion"].to_list()] == ["a", "b"]
    assert frame["source"].to_list() == ["s", "s"]


def test_bytes_that_are_no_text_are_rejects(tmp_path: Path) -> None:
    table = pa.table({"prompt": ["q", "q"], "completion": pa.array([b"a", b"\xff"]), "score": [1.0, 2.0]})
    pq.write_table(table, tmp_path / "a.parquet")
    found = read(tmp_path / "a.parquet")
    assert found.rejects["reason"].to_list() == ["the completion has a NUL byte or a lone surrogate"]


def test_plain_frames_are_passed_on_as_they_are() -> None:
    frame = pl.DataFrame({ROW: [0], "a": ["x"], "image": [{"bytes": b"\xff", "path": "p"}]})
    assert convert_stored_types(frame)[0] is frame
