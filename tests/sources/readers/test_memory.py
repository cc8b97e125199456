"""Data in memory give the records, and the rejects, of the same data in a file."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.errors import DataError
from prefboost.sources.readers.files import JsonReader
from prefboost.sources.readers.memory import MemoryReader, hash_data, holds_data, name_data

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text('aä\n"', max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("xy"), inner, max_size=2),
    max_leaves=4,
)
RECORD = st.dictionaries(st.sampled_from("abc"), VALUES, min_size=1, max_size=3)
# One object alone may be a table of columns, which files refuse.
RECORDS = st.lists(RECORD | st.integers(), min_size=2, max_size=6)


def collect(reader: Any) -> tuple[list[Any], list[Any]]:
    batches = list(reader.batches(None, None))
    rejects = [
        row | {"found": row["found"].partition(": ")[2], "path": ""}
        for batch in batches
        for row in batch.rejects.to_dicts()
    ]
    return [frame.to_dicts() for batch in batches for frame in batch.frames], rejects


@given(RECORDS)
def test_a_list_gives_the_records_and_rejects_of_the_same_file(tmp_path_factory: Any, records: list[Any]) -> None:
    path = tmp_path_factory.mktemp("lines") / "records.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    assert collect(MemoryReader(records)) == collect(JsonReader(str(path)))


def test_row_numbers_go_on_over_batches() -> None:
    records = [{"a": number} for number in range(7)]
    for data in (records, pl.DataFrame(records)):
        frames = [batch.frames[0] for batch in MemoryReader(data).batches(None, 3)]
        assert [frame["__row__"].to_list() for frame in frames] == [[0, 1, 2], [3, 4, 5], [6]]


def test_missing_values_and_mixed_cells_of_pandas_are_those_of_the_records() -> None:
    pandas = pytest.importorskip("pandas")
    plain = MemoryReader(pandas.DataFrame({"score": [1.0, None], "text": ["a", None]}))
    assert collect(plain)[0] == [
        [{"__row__": 0, "score": 1.0, "text": "a"}, {"__row__": 1, "score": None, "text": None}]
    ]
    mixed = pandas.DataFrame({"score": [1, "x", None, [2]]}, index=[5, 6, 7, 8])
    rows = [row for frame in collect(MemoryReader(mixed))[0] for row in frame]
    assert sorted((row["__row__"], row["score"]) for row in rows if row["__row__"] != 2) == [(0, 1), (1, "x"), (3, [2])]


def test_numbers_and_dates_of_numpy_become_those_of_json() -> None:
    record = {"n": np.float32(0.5), "list": np.array([1, 2]), "day": datetime.date(2026, 1, 2)}
    assert collect(MemoryReader([record]))[0] == [[{"__row__": 0, "n": 0.5, "list": [1, 2], "day": "2026-01-02"}]]


def test_what_no_json_holds_is_named_with_row_and_column() -> None:
    with pytest.raises(DataError, match=r"<list>, row 1, column 'b': .*a value of type set"):
        list(MemoryReader([{"a": 1}, {"a": 1, "b": {3}}]).batches(None, None))


def test_data_are_recognised_by_their_type() -> None:
    assert all(map(holds_data, ([], (), pl.DataFrame(), pl.LazyFrame(), pl.DataFrame({"a": [1]}).to_arrow())))
    assert not any(map(holds_data, (None, 3, {"a": 1}, iter([]), Path())))
    assert (name_data([]), name_data(pl.DataFrame())) == ("<list>", "<polars.DataFrame>")


def test_the_hash_depends_on_the_records_alone() -> None:
    assert hash_data([{"a": 1}]) == hash_data(({"a": 1},)) != hash_data([{"a": 2}])
    assert hash_data([{"a": 1}, 3]) != hash_data([{"a": 1}, 4])
