"""Messages in texts: JSON, Python's repr, NumPy's print, rendered; anything else is a text."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefboost.sources.messages.encoded import (
    BEGINS,
    decode_list,
    decode_text,
    find_encoded_rows,
    looks_encoded,
    parse_literal,
)
from prefboost.tables import MESSAGES

MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant"]), "content": st.text(max_size=12)},
    optional={"name": st.text(max_size=3), "toxic": st.booleans(), "score": st.none()},
)
TALK = st.lists(MESSAGE, min_size=1, max_size=4)


@settings(max_examples=80, deadline=None)
@given(TALK)
def test_every_spelling_of_a_conversation_is_decoded(talk: list[dict[str, Any]]) -> None:
    array = np.empty(len(talk), dtype=object)
    array[:] = talk
    spellings = [json.dumps(talk), json.dumps(talk, indent=1), repr(talk)]
    for width in (10, 75, 10**6):
        with np.printoptions(threshold=10**6, linewidth=width):
            spellings += [str(array), repr(array)]
    for text in (*spellings, json.dumps({"messages": talk})):
        assert decode_text(text) == talk
        assert looks_encoded(text) or next(iter(talk[0])) in ("name", "toxic", "score")
    assert decode_text(json.dumps(talk[0])) == talk[:1]
    assert decode_list([json.dumps(message) for message in talk]) == talk


@pytest.mark.parametrize(
    "text",
    [
        "a plain text", "[1, 2, 3]",
        '{"role": [[], 1], "content": "x"}',
        '{"answer": 42}', "[]", "{}", '["a", "b"]', '[{"role": "wizard", "content": "x"}]',
        '[{"content": "no role"}]', '[{"role": "user"}]', "array of things", "[INST]", "import os", "[x for x in y]",
        '[{"role": "user", "content": "cut', "{'role': open('x')}",
    ],
)  # fmt: skip
def test_what_is_not_certain_stays_a_text(text: str) -> None:
    assert decode_text(text) is None


@given(st.text(max_size=30))
def test_any_text_is_decoded_to_messages_or_to_nothing(text: str) -> None:
    found = decode_text(text)
    assert found is None or all("content" in message for message in found)
    parse_literal(text)
    decode_list([text])


def test_cut_or_broken_encodings_look_encoded() -> None:
    for text in (
        '[{"role": "user", "content": "cut',
        "[{'from': 'human'",
        '{"messages": [{',
        "[{'content': 'x', 'role': 'us",
        "<|im_start|>user\nhi",
    ):
        assert looks_encoded(text)
    for text in (
        "plain",
        '{"answer": 1}',
        "[1]",
        '{"value": 3}',
        '[{"from": "Rome", "to": "Bonn"}]',
        '{"messages": []}',
    ):
        assert not looks_encoded(text)
    assert pl.Series([" [{'role': 'user'", "[1]"]).str.contains(BEGINS).to_list() == [True, False]


def test_json_of_json_is_decoded_and_other_spellings_of_roles_are_likely() -> None:
    talk = [{"role": "user", "content": "q"}]
    assert decode_text(json.dumps(json.dumps(talk))) == talk
    shouted = json.dumps([{"role": "USER", "content": "q"}])
    assert decode_text(shouted) is None and looks_encoded(shouted)


def test_likely_messages_are_told_row_by_row() -> None:
    texts = ["hi", "<|im_start|>user\nq", None, json.dumps([{"role": "user", "content": "q"}]), "a < b <| c"]
    rows = [
        None if text is None else [{"role": "user", "content": "x"}, {"role": "user", "content": text}]
        for text in texts
    ]
    messages = pl.Series("m", [*rows, []], dtype=MESSAGES)
    assert find_encoded_rows(messages).to_list() == [False, True, False, True, False, False]
    assert find_encoded_rows(messages.gather([0, 2, 5])).to_list() == [False] * 3
