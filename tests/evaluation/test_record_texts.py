"""Texts of foreign records: every shape in use is read, and nothing else ever becomes a text."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.errors import DataError, Place
from prefboost.evaluation.record_texts import read_answer, read_answer_turns, read_each, require_text, require_turns

HERE = Place("answers.jsonl", row=3)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["content", "answer", "text", "type", "thinking"]), inner, max_size=3)
    ),
    max_leaves=8,
)


def texts_in(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return [text for each in inner for text in texts_in(each)]


@given(JSON)
def test_a_text_comes_out_of_the_value_or_is_refused_by_name(value: Any) -> None:
    try:
        found = read_answer(value, "output", HERE)
    except DataError as error:
        assert "answers.jsonl, row 3: output" in str(error) and "is not text" in str(error)
    else:
        assert set(found) <= set("".join(texts_in(value))), "no character is made up"


@pytest.mark.parametrize(
    "value",
    [
        "said", {"content": "said"}, {"answer": "said", "reasoning": "hm"}, [{"type": "text", "text": "said"}],
        [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "sa"}, "id"], "<think>hm</think>said",
        {"content": [{"text": {"value": "said"}}]},
    ],
)  # fmt: skip
def test_shapes_in_use_are_read_without_thoughts(value: Any) -> None:
    assert read_answer(value, "output", HERE) == "said"
    assert read_answer_turns([value, "more"], "turns", HERE) == ("said", "more")


def test_the_field_that_is_no_text_is_named() -> None:
    with pytest.raises(DataError, match=r"turns\[1\]\.content is not text: found null"):
        require_turns(["a", {"content": None}], "turns", HERE)
    with pytest.raises(DataError, match="turns holds no turns: found str abc"):
        require_turns("abc", "turns", HERE)
    with pytest.raises(DataError, match="prompt is not text: found int 3"):
        require_text(3, "prompt", HERE)


def test_all_records_that_cannot_be_read_are_named_at_once() -> None:
    def read(at: int, record: object) -> str:
        return require_text(record, "text", Place("a.jsonl", row=at))

    assert read_each(["a", "b"], read, "a.jsonl") == ["a", "b"]
    with pytest.raises(DataError, match=r"^a.jsonl, row 1: text is not text: found null"):
        read_each(["a", None], read, "a.jsonl")
    with pytest.raises(DataError, match=r"^a.jsonl: 7 of 9 records cannot be read: row 1: .*; row 5: .*; and 2 more\n"):
        read_each(["a", *[None] * 3, 4, [], {}, "b", None], read, "a.jsonl")
