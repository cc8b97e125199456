"""Bodies of calls: what each interface is asked, as the settings shape it."""

from __future__ import annotations

from typing import Any

from prefboost.engines.engine import Request, Sampling, row_seed
from prefboost.engines.openai.bodies import Bodies
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
