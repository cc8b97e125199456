"""Log-probs in replies of servers."""

from __future__ import annotations

import math
from typing import Any

import pytest

from prefboost.engines.openai.logprobs import read_choice_logprobs, read_echoed_logprob, read_prompt_logprob
from prefboost.engines.openai.replies import Malformed, Unavailable


def top(*pairs: tuple[str, Any]) -> dict[str, Any]:
    likely = [{"token": token, "logprob": value} for token, value in pairs]
    return {"choices": [{"logprobs": {"content": [{"top_logprobs": likely}]}}]}


def test_tokens_that_differ_in_blanks_are_one_choice_and_absent_ones_are_impossible() -> None:
    found = read_choice_logprobs(
        top((" A", math.log(0.2)), ("A", math.log(0.3)), ("B", math.log(0.4))), ["A", "B", "C"]
    )
    assert found == pytest.approx((math.log(0.5), math.log(0.4), -math.inf))
    older = {"choices": [{"logprobs": {"top_logprobs": [{"A": -1.0, " B": -2.0}]}}]}
    assert read_choice_logprobs(older, ["A", "B"]) == (-1.0, -2.0)


@pytest.mark.parametrize("value", [math.nan, None, "x", 3.0, True])
def test_what_is_no_log_prob_is_malformed_for_a_choice_and_nothing_for_other_tokens(value: Any) -> None:
    with pytest.raises(Malformed):
        read_choice_logprobs(top(("A", value)), ["A"])
    assert read_choice_logprobs(top(("A", -1.0), ("x", value)), ["A", "B"]) == (-1.0, -math.inf)


@pytest.mark.parametrize("token", ["Ġ1", "▁1", " 1", "1", "Ċ1", "<0x31>", "\u00a01"])
def test_a_token_is_the_choice_however_its_vocabulary_writes_blanks(token: str) -> None:
    assert read_choice_logprobs(top((token, -1.0), ("Ġtie", -2.0)), ["1", "2", "tie"]) == (-1.0, -math.inf, -2.0)


def test_the_token_that_was_written_counts_where_it_is_missing_among_the_likeliest() -> None:
    written = {"token": "A", "logprob": -0.01, "top_logprobs": []}
    assert read_choice_logprobs({"choices": [{"logprobs": {"content": [written]}}]}, ["A", "B"]) == (-0.01, -math.inf)
    by_name = {"token": "A", "logprob": -0.5, "top_logprobs": {"A": -0.5, "B": -1.5}}
    assert read_choice_logprobs({"choices": [{"logprobs": {"content": [by_name]}}]}, ["A", "B"]) == (-0.5, -1.5)


def test_the_log_prob_of_one_token_alone_makes_no_sure_verdict() -> None:
    for likely in ([], None, {}, [{"token": "A", "logprob": -0.5}]):
        written = {"token": "A", "logprob": -0.5, "top_logprobs": likely}
        with pytest.raises(Unavailable, match="alone"):
            read_choice_logprobs({"choices": [{"logprobs": {"content": [written]}}]}, ["A", "B"])


def test_log_probs_are_read_as_text_by_bytes_and_in_lists() -> None:
    assert read_choice_logprobs(top(("A", "-1.0"), ("B", "-0.5")), ["A", "B"]) == (-1.0, -0.5)
    numbered = [{"token": f"token_id:{byte}", "bytes": [byte], "logprob": -1.0} for byte in b"AB"]
    assert read_choice_logprobs({"choices": [{"logprobs": {"content": [{"top_logprobs": numbered}]}}]}, ["A"]) == (
        -1.0,
    )
    older = {
        "choices": [
            {"logprobs": {"top_logprobs": [[{"token": "A", "logprob": -1.0}, {"token": "B", "logprob": -0.5}]]}}
        ]
    }
    assert read_choice_logprobs(older, ["A", "B"]) == (-1.0, -0.5)


def test_servers_without_log_probs_say_so() -> None:
    with pytest.raises(Unavailable):
        read_choice_logprobs({"choices": [{"logprobs": None}]}, ["A"])
    with pytest.raises(Unavailable, match="vLLM"):
        read_prompt_logprob({"choices": []}, 1)
    with pytest.raises(Unavailable, match="echo"):
        read_echoed_logprob({"choices": [{"logprobs": {"token_logprobs": [-1.0]}}], "usage": {"prompt_tokens": 2}}, 1)


def test_log_probs_of_a_completion_are_those_behind_the_prompt_without_trailing_white_space() -> None:
    entries = [None, *({"7": {"logprob": -float(at), "decoded_token": text}} for at, text in enumerate("abc\n", 1))]
    assert read_prompt_logprob({"prompt_logprobs": entries}, 2) == -(2.0 + 3.0)
    echoed = {"choices": [{"logprobs": {"token_logprobs": [None, -1.0, -2.0, -9.0]}}], "usage": {"prompt_tokens": 3}}
    assert read_echoed_logprob(echoed, 1) == -3.0
