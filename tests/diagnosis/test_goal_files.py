from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from prefboost.diagnosis.goal_files import open_goal_pairs, read_goal_pairs
from prefboost.errors import DataError
from prefboost.tables import Table


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_goal_pairs_come_back_as_they_were(tmp_path: Path, goal_table: Callable[..., Table], ending: str) -> None:
    path = tmp_path / f"goal.{ending}"
    frame = goal_table(3).frame
    frame.write_parquet(path) if ending == "parquet" else frame.write_ndjson(path)
    reader = open_goal_pairs(path)
    assert reader is not None
    (table,) = read_goal_pairs(reader)
    assert (
        table.frame.drop("row")
        .select(sorted(frame.drop("row").columns))
        .equals(frame.drop("row").select(sorted(frame.drop("row").columns)))
    )
    assert table.frame["row"].to_list() == list(range(6))


def test_other_files_are_not_goal_pairs(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"prompt": "q", "chosen": "a", "rejected": "b"}', encoding="utf-8")
    assert open_goal_pairs(path) is None
    assert open_goal_pairs(tmp_path / "nowhere") is None


def test_rows_that_hold_no_pair_are_counted_rejects(tmp_path: Path) -> None:
    rows = [
        {"goal_pair_id": "a/chosen", "prompt": "q", "chosen": "x", "rejected": "y", "goal": 7},
        {"goal_pair_id": None, "prompt": "q", "chosen": "x", "rejected": "y", "goal": 7},
        {"goal_pair_id": "c/chosen", "prompt": "q", "chosen": " ", "rejected": "y", "goal": "high"},
        {"goal_pair_id": "d/chosen", "prompt": "q", "chosen": 7, "rejected": ["y"], "goal": [1]},
    ]
    path = tmp_path / "goal.jsonl"
    path.write_text("\n".join([*map(json.dumps, rows), "{"]), encoding="utf-8")
    reader = open_goal_pairs(path)
    assert reader is not None
    tables = list(read_goal_pairs(reader))
    remaining, aside = (pl.concat([getattr(table, name) for table in tables])["row"] for name in ("frame", "rejects"))
    assert sorted([*remaining, *aside]) == [0, 1, 2, 3, 4]
    assert 0 in remaining and {1, 2, 4} <= set(aside)


def test_goal_pairs_without_a_side_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "goal.jsonl"
    path.write_text('{"goal_pair_id": "a/chosen", "prompt": "q", "chosen": "x"}', encoding="utf-8")
    reader = open_goal_pairs(path)
    assert reader is not None
    with pytest.raises(DataError, match="rejected"):
        list(read_goal_pairs(reader))
