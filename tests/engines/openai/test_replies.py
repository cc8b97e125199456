"""Bodies of servers are read with suspicion: whatever comes is a result, or one of three named faults."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from prefboost.engines.engine import Result
from prefboost.engines.openai.logprobs import read_choice_logprobs, read_echoed_logprob, read_prompt_logprob
from prefboost.engines.openai.replies import (
    Malformed,
    RefusedRowError,
    Unavailable,
    estimate_tokens,
    limit_prompt_tokens,
    read_prompt_length,
    read_results,
    read_usage,
)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["choices", "message", "content", "text", "logprobs", "usage", "prompt_tokens", "index",
                         "completion_tokens", "finish_reason", "top_logprobs", "token_logprobs", "prompt_logprobs"]),
        inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(VALUES)
@example({"prompt_logprobs": [None, {"choices": None}]})
def test_any_body_is_read_or_named_as_faulty(body: Any) -> None:
    readers = (
        lambda: read_results(body, "x"), lambda: read_choice_logprobs(body, ["A"]),
        lambda: read_echoed_logprob(body, 1),
        lambda: read_prompt_logprob(body, 1), lambda: read_prompt_length(body),
    )  # fmt: skip
    for read in readers:
        try:
            read()
        except (Malformed, RefusedRowError, Unavailable) as fault:
            assert str(fault)


def said(content: Any, reason: Any = "stop", **message: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"content": content, **message}, "finish_reason": reason}]}


def test_completions_come_in_the_order_of_their_index_and_share_the_tokens_written() -> None:
    one = {"index": 1, "message": {"content": "b"}, "finish_reason": "length"}
    two = {"index": 0, "message": {"content": "a"}, "finish_reason": "stop"}
    reply = {"choices": [one, two], "usage": {"prompt_tokens": 9, "completion_tokens": 5}}
    assert read_results(reply, "x") == [Result("a", "stop", 9, 3), Result("b", "length", 9, 2)]


def test_tokens_are_estimated_where_the_server_counts_none() -> None:
    assert read_results(said("abcdefgh"), "four") == [Result("abcdefgh", "stop", 1, 2)]
    assert read_usage({"usage": {"prompt_tokens": -1, "completion_tokens": "7 of 9"}}, 4, [1, 2]) == (4, 3)


@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        ({"choices": []}, Malformed),
        ({"choices": [{}]}, Malformed),
        ({"choices": [{"message": {}}]}, Malformed),
        ({"choices": [{"finish_reason": "stop"}]}, Malformed),
        (said(7), Malformed),
        (said([{"type": "image_url", "image_url": {}}]), Malformed),
        (said("half", "insufficient_system_resource"), Malformed),
        (said("half", "abort"), Malformed),
        (said("x", "content_filter"), RefusedRowError),
        (said("x", "SAFETY"), RefusedRowError),
        (said([{"type": "refusal", "refusal": "I cannot"}]), RefusedRowError),
        (said("Let me look.", "tool_calls", tool_calls=[{}]), RefusedRowError),
        (said(None, "stop", refusal="I cannot"), RefusedRowError),
        (said(None, "tool_calls", tool_calls=[{}]), RefusedRowError),
    ],
)
def test_what_is_no_completion_is_malformed_or_refused(reply: Any, fault: type[Exception]) -> None:
    with pytest.raises(fault):
        read_results(reply, "x")


@pytest.mark.parametrize(
    ("reason", "end"),
    [
        ("STOP", "stop"), ("end_turn", "stop"), ("COMPLETE", "stop"), ("eos_token", "stop"), ("MAX_TOKENS", "length"),
        ("max_output_tokens", "length"), ("FINISH_REASON_STOP", "stop"), (None, "stop"), ("", "stop"),
        ("a word of tomorrow", "stop"), ("null", "stop"), (3, "stop"),
    ],
)  # fmt: skip
def test_a_finish_reason_in_other_words_or_missing_loses_no_text(reason: Any, end: str) -> None:
    assert read_results(said("text", reason), "")[0] == Result("text", end, 0, 1)  # type: ignore[arg-type]


def test_a_cut_is_told_by_the_tokens_where_the_server_gives_no_reason() -> None:
    reply = said("text", None) | {"usage": {"completion_tokens": 7, "prompt_tokens": 2}}
    assert read_results(reply, "", 7)[0].finish_reason == "length"
    assert read_results(reply, "", 8)[0].finish_reason == "stop"


@pytest.mark.parametrize(
    ("content", "text", "reasoning"),
    [
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "ab", None),
        (["a", "b"], "ab", None),
        ([{"type": "output_text", "text": "a"}], "a", None),
        (
            [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "a"}],
            "a",
            "hm",
        ),
        ({"type": "text", "text": {"value": "a"}}, "a", None),
        ({"parts": [{"text": "a"}, {"text": "b"}]}, "ab", None),
        ([], "", None),
        (None, "", None),
        ("<think>hm</think>a", "a", "hm"),
    ],
)
def test_content_is_text_parts_or_nothing(content: Any, text: str, reasoning: str | None) -> None:
    (result,) = read_results(said(content), "")
    assert (result.text, result.reasoning, result.finish_reason) == (text, reasoning, "stop")


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning", "thinking"])
def test_thoughts_beside_the_content_are_kept_and_are_no_content(name: str) -> None:
    (result,) = read_results(said("a", **{name: "hm"}), "")
    assert (result.text, result.reasoning) == ("a", "hm")
    (silent,) = read_results(said(None, **{name: "hm"}), "")
    assert silent.only_thinks and silent.reasoning == "hm"
    (both,) = read_results(said("a", reasoning="hm", reasoning_content="hm"), "")
    assert both.reasoning == "hm", "the same thoughts under two names are one"


def test_a_prompt_that_ends_inside_a_thought_makes_the_beginning_a_thought() -> None:
    assert read_results(said("hm, so"), "", opened=True)[0].only_thinks
    (result,) = read_results(said("hm</think>a"), "", opened=True)
    assert (result.text, result.reasoning) == ("a", "hm")
    (parsed,) = read_results(said("a", reasoning_content="hm"), "", opened=True)
    assert (parsed.text, parsed.reasoning) == ("a", "hm"), "the server has separated them already"


def test_one_bad_choice_costs_no_other() -> None:
    good = {"index": 1, "message": {"content": "b"}, "finish_reason": "stop"}
    for bad in ({"index": 0, "message": {"content": "a"}, "finish_reason": "content_filter"}, {"index": 0}):
        assert [each.text for each in read_results({"choices": [bad, good]}, "")] == ["b"]


def test_reasoning_that_used_all_tokens_leaves_an_empty_completion() -> None:
    assert read_results(said(None, "length"), "")[0].text == ""


def test_half_characters_are_replaced_so_that_tables_can_hold_the_text() -> None:
    assert read_results(said("a\ud83d\ude00b"), "")[0].text == "a\U0001f600b"
    read_results(said("\ud800"), "")[0].text.encode()


@pytest.mark.parametrize("usage", [
    {"prompt_tokens": 5, "completion_tokens": 7}, {"input_tokens": 5, "output_tokens": 7},
    {"prompt_tokens": 5.0, "completion_tokens": "7"}, {"prompt_tokens": 5, "total_tokens": 12},
    {"promptTokenCount": 5, "candidatesTokenCount": 7},
])  # fmt: skip
def test_bills_are_read_under_all_names_in_use(usage: dict[str, Any]) -> None:
    assert read_usage({"usage": usage}, 100, [100]) == (5, 7)


@pytest.mark.parametrize(
    "usage", [None, {}, {"prompt_tokens": -5, "completion_tokens": True}, {"prompt_tokens": "5 tokens"}]
)
def test_what_is_no_bill_is_estimated(usage: Any) -> None:
    assert read_usage({"usage": usage}, 100, [40, 60]) == (100, 100)


@pytest.mark.parametrize("beside", [
    {"reasoning": {"content": "hm"}}, {"reasoning_details": [{"type": "reasoning.text", "text": "hm"}]},
    {"thinking_blocks": [{"type": "thinking", "thinking": "hm"}]}, {"reasoning": "hm", "reasoning_content": "hm"},
])  # fmt: skip
def test_thoughts_beside_a_text_are_read_in_all_the_shapes_in_use(beside: dict[str, Any]) -> None:
    reply = {"choices": [{"message": {"content": "Hi", **beside}, "finish_reason": "stop"}]}
    assert [(each.text, each.reasoning) for each in read_results(reply, "")] == [("Hi", "hm")]


@given(st.text())
def test_no_estimate_is_above_the_most(text: str) -> None:
    assert estimate_tokens(text) <= limit_prompt_tokens(text, 1)
