"""One row a completion, from lists of any kind."""

from __future__ import annotations

import json

import polars as pl
import pytest

from prefboost.sources import read
from prefboost.sources.layouts.layout import Layout
from prefboost.sources.readers.raw import ROW
from prefboost.sources.rows.completions import INDEX, convert_nested, convert_parallel
from prefboost.sources.rows.faults import FAULT


def test_a_record_without_completions_keeps_one_faulty_row() -> None:
    lists = [[{"t": "a", "s": 1}, {"t": "b", "s": 2}], [], None]
    frame = pl.DataFrame({ROW: [0, 1, 2], "p": ["x", "y", "z"], "c": lists})
    layout = Layout("nested", {"prompt": "p", "completions": "c", "completion": "t", "score": "s"})
    rows = convert_nested(frame, layout)
    assert rows["row"].to_list() == [0, 0, 1, 2]
    assert rows[INDEX].to_list() == [0, 1, 0, 0]
    assert rows[FAULT].to_list() == [None, None, *["the record has no completions"] * 2]


def test_completions_of_another_type_than_elsewhere_are_faulty() -> None:
    frame = pl.DataFrame({ROW: [0], "p": ["x"], "c": ["text"]})
    layout = Layout("nested", {"prompt": "p", "completions": "c", "completion": "t"})
    assert convert_nested(frame, layout)[FAULT].to_list() == ["the record has completions of an unexpected type"]


def test_lists_of_unequal_length_are_faulty() -> None:
    frame = pl.DataFrame({ROW: [0, 1], "p": ["x", "y"], "c": [["a", "b"], ["a"]], "s": [[1, 2], [1, 2]]})
    rows = convert_parallel(frame, Layout("parallel", {"prompt": "p", "completions": "c", "score": "s"}))
    assert rows["score"].to_list()[:2] == [1, 2]
    assert rows[FAULT].to_list() == [None, None, "the record has lists of another length beside its completions"]


def test_why_completions_ended_is_read_from_lists_of_any_kind() -> None:
    nested = pl.DataFrame({ROW: [0], "p": ["x"], "c": [[{"t": "a", "why": "stop"}, {"t": "b", "why": "max_tokens"}]]})
    layout = Layout("nested", {"prompt": "p", "completions": "c", "completion": "t", "finish_reason": "why"})
    assert convert_nested(nested, layout)["finish_reason"].to_list() == ["stop", "length"]
    beside = pl.DataFrame({ROW: [0], "p": ["x"], "c": [["a", "b"]], "why": [["length", None]]})
    rows = convert_parallel(beside, Layout("parallel", {"prompt": "p", "completions": "c", "finish_reason": "why"}))
    assert rows["finish_reason"].to_list() == ["length", None]


@pytest.mark.parametrize(
    ("goals", "expected"),
    [([1.0, 4.5, None], [1.0, 4.5, None]), ([1, 4, 10], [1.0, 4.0, 10.0]), (["kind", "x", "y"], None)],
)
def test_a_goal_is_a_number_that_was_asked_for_and_text_is_none(tmp_path, goals, expected):
    path = tmp_path / "asked.jsonl"
    rows = [{"prompt": f"q{at}", "completion": "a", "score": 3.0, "goal": goal} for at, goal in enumerate(goals)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    frame = read(path).frame
    assert (frame["goal"].to_list() if "goal" in frame.columns else None) == expected
