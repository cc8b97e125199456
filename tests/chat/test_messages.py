"""Messages as data."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from prefboost.chat import Message, join_text, to_record
from prefboost.chat.messages import carries_extra, extra_of, tools_of, with_tools

TEXT = st.text(max_size=20)
RECORD = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool"]), "content": TEXT},
    optional={
        "name": st.text(min_size=1, max_size=5),
        "tool_calls": st.lists(st.dictionaries(TEXT, TEXT, max_size=2), min_size=1),
    },
)


def from_record(record: dict[str, Any]) -> Message:
    """Read a message as sources do."""
    content = record.get("content")
    return {"role": record["role"], "content": "" if content is None else content, "extra": extra_of(record)}


@given(RECORD)
def test_a_record_comes_back_as_it_was_with_its_tool_calls(record: dict[str, Any]) -> None:
    assert to_record(from_record(record)) == record


def test_a_content_that_is_none_is_an_empty_text() -> None:
    assert from_record({"role": "assistant", "content": None, "name": None}) == {
        "role": "assistant",
        "content": "",
        "extra": None,
    }


def say(*roles: str) -> list[dict[str, str]]:
    return [{"role": role, "content": role} for role in roles]


def test_texts_are_joined_by_newlines() -> None:
    assert join_text(say("user", "assistant")) == "user\nassistant"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
TOOL_RECORD = st.dictionaries(
    st.sampled_from(["tool_calls", "name", "zeta", "alpha", "extra"]), JSON, max_size=4
).flatmap(
    lambda others: st.permutations(
        [("role", "assistant"), *others.items(), *contents_of(others)],
    ).map(dict)
)


def contents_of(others: dict[str, Any]) -> list[tuple[str, Any]]:
    """A content of every kind, by the size of the rest."""
    return [[("content", "a text")], [("content", None)], [("content", "")], []][len(others) % 4]


@given(TOOL_RECORD)
def test_a_message_with_more_than_a_text_comes_back_key_for_key(record: dict[str, Any]) -> None:
    message = from_record(record)
    if message["extra"] is None:
        return
    assert json.dumps(to_record(message)) == json.dumps(record)


@given(st.lists(JSON, min_size=1, max_size=3), TOOL_RECORD)
def test_tools_of_a_conversation_are_no_part_of_its_messages(tools: list[Any], record: dict[str, Any]) -> None:
    message = from_record(record)
    offering = with_tools([message], tools)
    assert tools_of([message]) is None and tools_of(offering) == tools
    assert to_record(offering[0]) == to_record(message)
    assert carries_extra(offering[0]) == carries_extra(message)
