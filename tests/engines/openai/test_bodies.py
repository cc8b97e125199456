"""Bodies of calls: what each interface is asked, as the settings shape it."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from prefboost.engines.engine import Request, Sampling, row_seed
from prefboost.engines.openai.bodies import Bodies, group_samples
from prefboost.engines.openai.engine import OpenAICompatible

REQUEST = Request([{"role": "user", "content": "hi", "extra": None}], 1, json_schema='{"type": "object"}')
SAMPLING = Sampling(temperature=0.5, top_p=0.9, max_tokens=7, seed=3)


def bodies(**settings: Any) -> Bodies:
    return Bodies(OpenAICompatible(model="m", **settings), lambda request: "<user>hi<assistant>")


def test_chat_sends_messages_and_completions_send_the_rendered_prompt() -> None:
    seed = row_seed(SAMPLING, "r", 1) % 2**31
    schema = {"name": "answer", "strict": True, "schema": {"type": "object"}}
    drawn = {"max_tokens": 7, "temperature": 0.5, "top_p": 0.9, "seed": seed,
             "response_format": {"type": "json_schema", "json_schema": schema}}  # fmt: skip
    messages = [{"role": "user", "content": "hi"}]
    assert bodies().ask_completions([REQUEST], SAMPLING, "r") == {"model": "m", "messages": messages, **drawn}
    older = bodies(api="completions", tokenizer="t")
    assert older.ask_completions([REQUEST] * 2, SAMPLING, "r") == {"model": "m", "prompt": "r", **drawn, "n": 2}
    assert older.ask_length(REQUEST) == {"model": "m", "prompt": "<user>hi<assistant>", "max_tokens": 1}
    assert older.ask_echo("all") == {"model": "m", "prompt": "all", "echo": True, "logprobs": 1, "max_tokens": 1}
    assert older.ask_choices(REQUEST)["logprobs"] == 20
    assert {**bodies().ask_choices(REQUEST), "logprobs": True, "top_logprobs": 20} == bodies().ask_choices(REQUEST)
    assert bodies().ask_prompt_logprobs(REQUEST)["add_generation_prompt"] is False


def test_a_field_that_is_left_out_may_be_given_another_value() -> None:
    shaped = bodies(
        leave_out=("seed", "top_p"), extra={"top_p": 1, "think": False}, max_tokens_field="max_completion_tokens"
    )
    body = shaped.ask_completions([REQUEST], SAMPLING, "r")
    assert (body["top_p"], body["think"], body["max_completion_tokens"]) == (1, False, 7)
    assert not {"seed", "max_tokens"} & {*body}


@given(st.lists(st.sampled_from("ab"), max_size=12), st.integers(1, 4))
def test_groups_are_of_one_prompt_and_no_larger_than_allowed(texts: list[str], most: int) -> None:
    requests = [Request([{"role": "user", "content": text}], at) for at, text in enumerate(texts)]
    groups = list(group_samples(enumerate(requests), most))
    assert [index for group in groups for index, _ in group] == list(range(len(texts)))
    for group in groups:
        assert len(group) <= most
        assert len({str(request.prompt) for _, request in group}) == 1


def test_no_request_is_taken_before_it_is_needed() -> None:
    taken = []

    def requests() -> object:
        for at in range(4):
            taken.append(at)
            yield at, Request([{"role": "user", "content": "a"}], at)

    next(group_samples(requests(), 2))  # type: ignore[arg-type]
    assert taken == [0, 1]
