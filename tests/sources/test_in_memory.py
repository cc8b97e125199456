"""`read` of data in memory: the same tables as of the same data in a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from prefboost.errors import DataError, UnreadData
from prefboost.sources import Columns, InMemory, read

ROWS: list[dict[str, Any]] = [
    {"prompt": f"Question {number}?", "completion": f"answer {side}", "score": float(number + side)}
    for number in range(4)
    for side in range(3)
]
BROKEN = [*ROWS, {"prompt": "q", "completion": "a", "score": "high"}, {"prompt": "q", "completion": "", "score": 1.0}]


def as_file(rows: list[Any], path: Path) -> Any:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read(path)


def in_libraries(rows: list[dict[str, Any]]) -> dict[str, Any]:
    datasets, pandas = pytest.importorskip("datasets"), pytest.importorskip("pandas")
    data_set = datasets.Dataset.from_list(rows)
    return {
        "list": rows,
        "tuple": tuple(rows),
        "polars": pl.DataFrame(rows),
        "lazy": pl.LazyFrame(rows),
        "arrow": pl.DataFrame(rows).to_arrow(),
        "pandas": pandas.DataFrame(rows),
        "datasets": data_set,
        "splits": datasets.DatasetDict(train=data_set),
        "stream": data_set.to_iterable_dataset(),
    }


@pytest.mark.parametrize("name", in_libraries(ROWS))
def test_every_kind_of_data_gives_the_table_of_the_same_file(name: str, tmp_path: Path) -> None:
    table, expected = read(in_libraries(ROWS)[name]), as_file(ROWS, tmp_path / "rows.jsonl")
    assert table.spec is expected.spec
    assert table.frame.equals(expected.frame)
    assert table.rejects.is_empty()
    assert table.steps[0].notes["guess"] == expected.steps[0].notes["guess"]


def test_the_same_rows_are_rejected_for_the_same_reasons(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    expected = as_file(BROKEN, tmp_path / "rows.jsonl").rejects.drop("path")
    assert expected["row"].to_list() == [12, 13]
    for data, name in ((BROKEN, "<list>"), (pandas.DataFrame(BROKEN), "<pandas.DataFrame>")):
        rejects = read(data).rejects
        assert rejects.drop("path").equals(expected)
        assert rejects["path"].unique().to_list() == [name]


def test_columns_scores_and_splits_are_chosen_as_for_a_file() -> None:
    datasets = pytest.importorskip("datasets")
    rows = [{"q": row["prompt"], "a": row["completion"], "points": row["score"]} for row in ROWS]
    named = read(rows, columns=Columns(prompt="q", completion="a", score="points"))
    assert named.frame["score"].to_list() == [row["score"] for row in ROWS]
    assert read(InMemory(data=ROWS, score_range=(0, 3))).rejects.height == 3
    both = datasets.DatasetDict(train=datasets.Dataset.from_list(ROWS[:3]), test=datasets.Dataset.from_list(ROWS[3:]))
    with pytest.warns(UnreadData, match=r"only the split train is read, not test \(9 rows\)"):
        assert len(read(both)) == 3
    assert len(read(InMemory(data=both, split="test"))) == 9


def test_anything_else_is_refused_with_what_can_be_read() -> None:
    for nothing in ({"prompt": "q"}, 3, None):
        with pytest.raises(DataError, match=r"(?s)cannot read a .*a frame of pandas or Polars"):
            read(nothing)


def test_the_settings_hold_the_name_of_the_data_and_not_the_data() -> None:
    source = InMemory(data=ROWS)
    assert source.path == "<list>"
    assert "data" not in source.model_dump()
    assert "Question" not in repr(source)
    assert source.hash_content() == InMemory(data=list(ROWS)).hash_content() != InMemory(data=ROWS[1:]).hash_content()
