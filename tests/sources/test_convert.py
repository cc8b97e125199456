"""`to_polars` and `to_dataset`: a table as an object of another library."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from prefboost.errors import DataError, SettingsError
from prefboost.sources import read
from prefboost.sources.convert import to_dataset, to_polars


def test_a_frame_has_the_columns_of_the_format(goal_table: Callable[..., Any]) -> None:
    table = goal_table(2)
    assert to_polars(table).equals(table.frame)
    assert table.to_polars("openrlhf")["margin"].to_list() == [4.0] * 4
    assert table.to_polars("ms-swift").columns[:2] == ["messages", "rejected_messages"]


def test_a_data_set_is_what_the_written_file_would_load_to(goal_table: Callable[..., Any]) -> None:
    pytest.importorskip("datasets")
    rows = goal_table(2).to_dataset("trl")
    assert len(rows) == 4
    assert rows[0]["prompt"][0] == {"role": "system", "content": "Overall score: 7."}
    assert rows[0]["chosen"] == [{"role": "assistant", "content": "good 0"}]
    assert rows["goal"][:2] == [7.0, 3.0]


def test_rows_that_the_format_cannot_hold_are_refused_with_their_count_unless_dropped(
    goal_row: Callable[..., Any], goal_table: Callable[..., Any]
) -> None:
    pytest.importorskip("datasets")
    calls = json.dumps({"tool_calls": [{"type": "function", "function": {"name": "f", "arguments": {}}}]})
    table = goal_table([goal_row(0, chosen=[{"role": "assistant", "content": "", "extra": calls}]), goal_row(1)])
    with pytest.raises(DataError, match=r"(?s)1 rows cannot be given as trl: 1: tool calls.*drop_rejects=True"):
        to_dataset(table, "trl")
    assert len(to_dataset(table, "trl", drop_rejects=True)) == 1


def test_a_format_of_pairs_needs_goal_pairs() -> None:
    scored = read([{"prompt": "q", "completion": text, "score": n} for n, text in enumerate("ab")])
    with pytest.raises(SettingsError, match="no export format"):
        scored.to_polars("axolotl")
    assert scored.to_polars("trl").columns[:2] == ["prompt", "completion"]
    pairs = read([{"prompt": "q", "chosen": "a", "rejected": "b", "score_chosen": 2, "score_rejected": 1}])
    with pytest.raises(DataError, match="format trl needs GoalPairs, found PreferencePairs"):
        pairs.to_dataset("trl")
