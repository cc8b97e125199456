"""Parts of records, also where a frame lacks them."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from prefboost.sources.layouts.layout import Layout
from prefboost.sources.readers.raw import ROW
from prefboost.sources.rows.parts import (
    convert_prompts,
    find_holder,
    normalize_ending,
    read_column,
    read_inner_values,
    read_labels,
)


def test_a_column_that_is_not_there_is_null() -> None:
    assert read_column(pl.DataFrame({"a": [1, 2]}), "b").to_list() == [None, None]


def test_labels_are_text_lists_are_joined_and_structures_are_no_label() -> None:
    assert read_labels(pl.Series([1, None])).to_list() == ["1", None]
    assert read_labels(pl.Series([["a", "b"]])).to_list() == ["a, b"]
    assert read_labels(pl.Series([{"a": 1}])).to_list() == [None]


def test_a_missing_id_is_replaced_by_the_hash() -> None:
    frame = pl.DataFrame({ROW: [0, 1], "prompt": ["p", "p"], "id": ["x", None]})
    ids = convert_prompts(frame, Layout("prompts", {"prompt": "prompt", "prompt_id": "id"}))["prompt_id"]
    assert ids[0] == "x"
    assert len(ids[1]) == 16


def test_why_a_completion_ended_is_said_in_two_words_whatever_the_server_said() -> None:
    words = pl.Series(["stop", "LENGTH", "max_tokens", "eos", "content_filter", None])
    assert normalize_ending(words).to_list() == ["stop", "length", "length", "stop", None, None]
    assert normalize_ending(pl.Series([1, 2])).to_list() == [None, None]


@pytest.mark.parametrize(
    ("layout", "record", "holder"),
    [
        (Layout("flat", {"rank": "r"}), {"r": 1}, "r"),
        (Layout("parallel", {"completions": "c", "rank": "r"}), {"c": ["a"], "r": [1]}, "r"),
        (Layout("nested", {"completions": "c", "rank": "r"}), {"c": [{"r": 1}]}, "c"),
        (Layout("nested", {"completions": "c", "rank": "m.r"}), {"c": [{"m": {"r": 1}}]}, "c"),
    ],
)
def test_the_values_of_all_records_come_one_after_the_other(
    layout: Layout, record: dict[str, Any], holder: str
) -> None:
    assert find_holder(layout, "rank") == holder
    assert read_inner_values(pl.DataFrame([record, record]), layout, "rank").to_list() == [1, 1]


def test_a_frame_without_the_field_has_no_values() -> None:
    layout = Layout("nested", {"completions": "c", "rank": "r"})
    assert read_inner_values(pl.DataFrame({"c": [[{"x": 1}]]}), layout, "rank").is_empty()
