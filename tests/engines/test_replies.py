"""Bodies of servers are read with suspicion: whatever comes is a result, or one of three named faults."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from prefboost.engines.engine import Result
from prefboost.engines.replies import (
    Malformed,
    Refused,
    Unavailable,
    choice_logprobs,
    echoed_logprob,
    estimated_tokens,
    most_tokens,
    prompt_length,
    prompt_logprob,
    results_of,
    usage_of,
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
        lambda: results_of(body, "x"), lambda: choice_logprobs(body, ["A"]), lambda: echoed_logprob(body, 1),
        lambda: prompt_logprob(body, 1), lambda: prompt_length(body),
    )  # fmt: skip
    for read in readers:
        try:
            read()
        except (Malformed, Refused, Unavailable) as fault:
            assert str(fault)


def said(content: Any, reason: Any = "stop", **message: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"content": content, **message}, "finish_reason": reason}]}


def test_completions_come_in_the_order_of_their_index_and_share_the_tokens_written() -> None:
    one = {"index": 1, "message": {"content": "b"}, "finish_reason": "length"}
    two = {"index": 0, "message": {"content": "a"}, "finish_reason": "stop"}
    reply = {"choices": [one, two], "usage": {"prompt_tokens": 9, "completion_tokens": 5}}
    assert results_of(reply, "x") == [Result("a", "stop", 9, 3), Result("b", "length", 9, 2)]


def test_tokens_are_estimated_where_the_server_counts_none() -> None:
    assert results_of(said("abcdefgh"), "four") == [Result("abcdefgh", "stop", 1, 2)]
    assert usage_of({"usage": {"prompt_tokens": -1, "completion_tokens": "7"}}, 4, [1, 2]) == (4, 3)


@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        ({"choices": []}, Malformed),
        (said("x", None), Malformed),
        (said(None), Malformed),
        (said("x", "content_filter"), Refused),
        (said(None, "stop", refusal="I cannot"), Refused),
        (said(None, "tool_calls", tool_calls=[{}]), Refused),
    ],
)
def test_what_is_no_completion_is_malformed_or_refused(reply: Any, fault: type[Exception]) -> None:
    with pytest.raises(fault):
        results_of(reply, "x")


def test_reasoning_that_used_all_tokens_leaves_an_empty_completion() -> None:
    assert results_of(said(None, "length"), "")[0].text == ""


def test_half_characters_are_replaced_so_that_tables_can_hold_the_text() -> None:
    assert results_of(said("a\ud83d\ude00b"), "")[0].text == "a\U0001f600b"
    results_of(said("\ud800"), "")[0].text.encode()


def top(*pairs: tuple[str, Any]) -> dict[str, Any]:
    likely = [{"token": token, "logprob": value} for token, value in pairs]
    return {"choices": [{"logprobs": {"content": [{"top_logprobs": likely}]}}]}


def test_tokens_that_differ_in_blanks_are_one_choice_and_absent_ones_are_impossible() -> None:
    found = choice_logprobs(top((" A", math.log(0.2)), ("A", math.log(0.3)), ("B", math.log(0.4))), ["A", "B", "C"])
    assert found == pytest.approx((math.log(0.5), math.log(0.4), -math.inf))
    older = {"choices": [{"logprobs": {"top_logprobs": [{"A": -1.0, " B": -2.0}]}}]}
    assert choice_logprobs(older, ["A", "B"]) == (-1.0, -2.0)


@pytest.mark.parametrize("value", [math.nan, None, "x", 3.0, True])
def test_what_is_no_log_prob_is_malformed(value: Any) -> None:
    with pytest.raises(Malformed):
        choice_logprobs(top(("A", value)), ["A"])


def test_servers_without_log_probs_say_so() -> None:
    with pytest.raises(Unavailable):
        choice_logprobs({"choices": [{"logprobs": None}]}, ["A"])
    with pytest.raises(Unavailable, match="vLLM"):
        prompt_logprob({"choices": []}, 1)
    with pytest.raises(Unavailable, match="echo"):
        echoed_logprob({"choices": [{"logprobs": {"token_logprobs": [-1.0]}}], "usage": {"prompt_tokens": 2}}, 1)


def test_log_probs_of_a_completion_are_those_behind_the_prompt_without_trailing_white_space() -> None:
    entries = [None, *({"7": {"logprob": -float(at), "decoded_token": text}} for at, text in enumerate("abc\n", 1))]
    assert prompt_logprob({"prompt_logprobs": entries}, 2) == -(2.0 + 3.0)
    echoed = {"choices": [{"logprobs": {"token_logprobs": [None, -1.0, -2.0, -9.0]}}], "usage": {"prompt_tokens": 3}}
    assert echoed_logprob(echoed, 1) == -3.0


@given(st.text())
def test_no_estimate_is_above_the_most(text: str) -> None:
    assert estimated_tokens(text) <= most_tokens(text, 1)
