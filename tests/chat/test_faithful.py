"""A rendering that leaves out a part of a message is found, whatever form the rest has."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.chat.faithful import find_lost_part

ARGUMENTS = st.dictionaries(
    st.text("abc", min_size=1, max_size=4),
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.lists(st.integers(), max_size=2),
    max_size=3,
)


def calling(arguments: Any, content: str = "") -> dict[str, Any]:
    call = {"type": "function", "function": {"name": "get_weather", "arguments": arguments}}
    return {"role": "assistant", "content": content, "extra": json.dumps({"tool_calls": [call]})}


@given(ARGUMENTS, st.booleans())
def test_calls_are_found_in_every_form_in_which_templates_write_them(arguments: dict[str, Any], as_text: bool) -> None:
    given_arguments = json.dumps(arguments) if as_text else arguments
    values = "".join(f"<{key}>\n{value}\n" for key, value in arguments.items())
    escaped = json.dumps(json.dumps(arguments))
    for written in (json.dumps(arguments), json.dumps(arguments, indent=2, ensure_ascii=False), escaped, values):
        if written is escaped and not as_text:
            continue
        assert find_lost_part(f"<call>get_weather {written}</call>", [calling(given_arguments)]) is None


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "the call of get_weather"),
        ('{"city": "Bern"}', "the call of get_weather"),
        ("get_weather", "the call of get_weather"),
        ('get_weather {"city": "Berlin"}', "the call of get_weather"),
        ('get_weather {"city": "Bern", "zip": null}', "the call of get_weather"),
    ],
)
def test_a_call_that_is_not_written_whole_is_named(text: str, part: str) -> None:
    assert part in (find_lost_part(text, [calling({"city": "Bern", "zip": 3000})]) or "")


@given(st.text(max_size=30))
def test_contents_may_be_trimmed_or_escaped_but_not_left_out(content: str) -> None:
    messages = [{"role": "assistant", "content": content, "extra": None}]
    for written in (content, content.strip(), json.dumps(content), json.dumps(content, ensure_ascii=False)):
        assert find_lost_part(f"<turn>{written}</turn>", messages) is None
    lost = find_lost_part("", messages)
    assert (lost is None) == (not content.strip())


def test_thoughts_may_get_other_line_breaks_but_not_be_dropped() -> None:
    messages = [{"role": "assistant", "content": "<think>\nmaybe 4</think>\n4", "extra": None}]
    assert find_lost_part("<think>\nmaybe 4\n</think>\n\n4", messages) is None
    assert "content of assistant message 0" in (find_lost_part("4", messages) or "")
    apart = [{"role": "assistant", "content": "4", "extra": '{"reasoning_content": "maybe 4"}'}]
    assert find_lost_part("<think>maybe 4</think>4", apart) is None
    assert "thought" in (find_lost_part("4", apart) or "")


def test_only_messages_of_the_roles_asked_for_count() -> None:
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}]
    assert find_lost_part("hi", messages, ("user",)) is None
    assert find_lost_part("hi", messages) is not None
