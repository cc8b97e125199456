"""Requests, results and the seeds of rows."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from prefboost.chat import Message
from prefboost.chat.messages import with_tools
from prefboost.engines.engine import Engine, Request, Result, Sampling, row_seed
from prefboost.engines.local.engine import LocalEngine
from prefboost.engines.openai.engine import OpenAICompatible, OpenAICompatibleEngine
from prefboost.engines.replay import ReplayEngine

USER = [{"role": "user", "content": "Hi", "extra": None}]


@given(st.integers(), st.text(), st.integers(0, 100))
def test_a_row_has_a_seed_of_its_own(seed: int, text: str, sample: int) -> None:
    sampling = Sampling(seed=seed)
    mine = row_seed(sampling, text, sample)
    assert mine == row_seed(sampling, text, sample)
    assert 0 <= mine < 2**128
    others = {row_seed(sampling, text, sample + 1), row_seed(sampling, text + ".", sample)}
    others.add(row_seed(Sampling(seed=seed + 1), text, sample))
    assert mine not in others


def test_lone_surrogates_have_a_seed_too() -> None:
    assert row_seed(Sampling(), "\ud800", 0) != row_seed(Sampling(), "\ud801", 0)


def test_a_goal_reaches_the_template_and_none_leaves_it_to_its_default() -> None:
    assert Request(USER).template_options == {}
    assert Request(USER, goal=7.0).template_options == {"goal": 7.0}
    assert Request(USER, goal=False).template_options == {"goal": False}


def test_a_result_is_an_assistant_turn() -> None:
    assert Result("Yes", "stop", 3, 2).completion == [{"role": "assistant", "content": "Yes", "extra": None}]


@pytest.mark.parametrize("wrong", [{"temperature": -1}, {"top_p": 0}, {"top_p": 1.1}, {"max_tokens": 0}])
def test_impossible_sampling_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Sampling(**wrong)


def test_every_engine_has_what_the_protocol_names() -> None:
    names = [name for name in vars(Engine) if not name.startswith("_")]
    opened = OpenAICompatible(model="m").open()
    assert isinstance(opened, OpenAICompatibleEngine)
    assert [name for name in names if not hasattr(opened, name)] == []
    for built_in in (LocalEngine, ReplayEngine):
        assert [name for name in names if not hasattr(built_in, name)] == []


def test_tools_of_a_conversation_go_with_its_messages() -> None:
    asked: list[Message] = [{"role": "user", "content": "q", "extra": None}]
    offering = Request(with_tools(asked, [{"name": "f", "strict": None}]), goal=7.0)
    assert offering.template_options == {"goal": 7.0, "tools": [{"name": "f", "strict": None}]}
    assert Request(asked).tool_fields == {}
    assert Request(asked).json_text == '[{"content": "q", "role": "user"}]'
    assert json.loads(offering.json_text)[1] == {"tools": [{"name": "f", "strict": None}]}
