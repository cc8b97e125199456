"""JSON lines whose records are regular, irregular or broken."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefboost.sources.readers.json_lines import parse_block
from prefboost.sources.readers.raw import ROW
from prefboost.sources.readers.text_files import Block

VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
LINE = st.one_of(
    st.dictionaries(st.sampled_from("abc"), VALUE, max_size=3).map(json.dumps),
    st.text(max_size=8),
    VALUE.map(json.dumps),
).map(lambda line: line.encode("utf-8", "replace").replace(b"\n", b" "))


@settings(max_examples=150, deadline=None)
@given(st.lists(LINE, max_size=6))
def test_every_line_is_a_record_or_a_reject_whatever_stands_on_it(lines: list[bytes]) -> None:
    batch = parse_block(Block(b"\n".join(lines), 1), 0, "f")
    rows = [row for frame in batch.frames for row in frame[ROW]] + batch.rejects["row"].to_list()
    assert sorted(rows) == list(range(sum(1 for line in lines if line.strip())))


@pytest.mark.parametrize("odd", [[{"role": "user"}], {"x": 1}, [1, 2]])
def test_text_and_structures_in_one_field_are_kept_apart(odd: Any) -> None:
    lines = "\n".join(json.dumps({"p": value}) for value in ("text", odd, "more"))
    batch = parse_block(Block(lines.encode(), 1), 0, "f")
    found = {row[ROW]: row["p"] for frame in batch.frames for row in frame.iter_rows(named=True)}
    assert found == {0: "text", 1: odd, 2: "more"}


def test_a_reject_says_file_and_line() -> None:
    batch = parse_block(Block(b'{"a": 1}\n\n{"a": \n', 10), 5, "f.jsonl")
    assert batch.rejects["row"].to_list() == [6]
    assert batch.rejects["found"][0].startswith("f.jsonl:12: ")


def test_texts_that_look_like_json_stay_text_in_the_fast_path() -> None:
    lines = "\n".join(json.dumps({"p": value, "m": [{"t": value}]}) for value in ("[1, 2]", "{code}", "plain"))
    batch = parse_block(Block(lines.encode(), 1), 0, "f")
    assert len(batch.frames) == 1
    assert batch.frames[0]["p"].to_list() == ["[1, 2]", "{code}", "plain"]


def test_a_structure_inside_messages_is_not_taken_for_text() -> None:
    lines = "\n".join(json.dumps({"m": [{"content": value}]}) for value in ("text", [{"type": "text"}]))
    batch = parse_block(Block(lines.encode(), 1), 0, "f")
    contents = [row["m"][0]["content"] for frame in batch.frames for row in frame.iter_rows(named=True)]
    assert contents == ["text", [{"type": "text"}]]
