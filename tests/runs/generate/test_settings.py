"""Which completions are generated, as settings."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from prefboost.engines.budget import Spending
from prefboost.engines.local.engine import Local
from prefboost.engines.openai.engine import OpenAICompatible
from prefboost.engines.replay import Replay
from prefboost.runs.evaluate.settings import Evaluate
from prefboost.runs.generate.settings import Generate
from prefboost.runs.score.judge import Judging
from prefboost.runs.score.score import Score
from prefboost.runs.synthesize.synthesize import Synthesize


def test_the_model_has_a_name_whatever_the_engine() -> None:
    engines = (Local(model="a"), OpenAICompatible(model="b"), Replay(path="c"))
    assert [Generate(engine=engine).model for engine in engines] == ["a", "b", "c"]


def test_budgets_and_prices_are_read_from_plain_values_and_survive_their_dump() -> None:
    plain = {
        "engine": {"kind": "openai_compatible", "model": "b", "requests_per_minute": 60},
        "budget": {"dollars": 5},
        "prices": {"b": {"prompt": 0.15, "completion": 0.6}},
    }
    made = Generate.model_validate(plain)
    assert made.prices["b"].dollars(2_000_000, 0) == pytest.approx(0.3)
    assert Generate.model_validate(made.model_dump(mode="json")) == made


def test_a_goal_that_stands_twice_is_refused() -> None:
    with pytest.raises(ValidationError, match="a goal stands twice"):
        Generate(engine=Replay(path="a"), goals=(1, 1))


def test_every_verb_that_asks_models_has_the_same_budget_prices_and_patience() -> None:
    fields = Spending.model_fields
    for verb in (Generate, Score, Judging, Evaluate, Synthesize):
        for name, field in fields.items():
            inherited = verb.model_fields[name]
            assert (inherited.default, inherited.description) == (field.default, field.description), (verb, name)
            assert name not in verb.__annotations__, f"{verb.__name__} repeats {name}"
