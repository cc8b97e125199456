"""Log-ratios are differences of log-probs, each model is read once, and a template tells whether it asks for goals."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.scoring.conftest import completions_table, policies  # noqa: F401 - a fixture
from tests.scoring.test_implicit import logp

from prefboost.diagnosis.log_ratios import compute_policy_ratios, open_policy_reader
from prefboost.engines.call_session import CallSession
from prefboost.errors import ModelError
from prefboost.scoring.sequence_logps import LogprobModel
from prefboost.scoring.sides import Scores, list_scored_items

pytestmark = pytest.mark.torch

TEXTS = [("one", "a cat"), ("two", "yes"), ("one", "a dog")]


def test_ratios_are_differences_and_every_model_is_read_once(
    policies: tuple[Path, Path],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from prefboost.engines.models import weights

    loaded: list[str] = []
    original = weights.load_causal_lm

    def count(name: str, *rest: Any, **options: Any) -> Any:
        loaded.append(name)
        return original(name, *rest, **options)

    monkeypatch.setattr(weights, "load_causal_lm", count)
    policy, start = policies
    origin = LogprobModel(str(start))
    items = list_scored_items(completions_table(TEXTS))
    texts = {
        name: list(open_policy_reader(name, origin).encode(items, Scores()).values())
        for name in (str(policy), str(start))
    }
    ratios = compute_policy_ratios(origin, texts, CallSession())
    expected = [logp(policy, *text)[0] - logp(start, *text)[0] for text in TEXTS]
    assert ratios[str(policy)].tolist() == pytest.approx(expected, abs=1e-4)
    assert ratios[str(start)].tolist() == [0.0, 0.0, 0.0]
    assert loaded == [str(start), str(policy)]


def test_a_template_tells_whether_it_asks_for_goals(policies: tuple[Path, Path], tmp_path: Path) -> None:  # noqa: F811
    policy, start = policies
    asking = shutil.copytree(policy, tmp_path / "asking")
    template = asking / "chat_template.jinja"
    template.write_text("{% if goal %}{{ goal }} {% endif %}" + template.read_text())
    reader, plain = (open_policy_reader(str(each), LogprobModel(str(start))) for each in (asking, policy))
    assert reader.asks and not plain.asks
    (item,) = list_scored_items(completions_table(TEXTS[:1]))
    asked, silent = (reader.encode([item], Scores(), lambda _, goal=goal: goal) for goal in (7.0, None))
    assert len(asked[0, "completion"][0]) > len(silent[0, "completion"][0])
    assert asked[0, "completion"][1] == silent[0, "completion"][1]


def test_what_is_too_long_is_left_out_with_a_reason(policies: tuple[Path, Path]) -> None:  # noqa: F811
    faults = Scores()
    reader = open_policy_reader(str(policies[0]), LogprobModel(str(policies[1])), 2)
    assert not reader.encode(list_scored_items(completions_table(TEXTS)), faults)
    assert {reason for reason, _ in faults.faults.values()} == {"the conversation is longer than the model can see"}


def test_models_of_other_tokens_are_refused(policies: tuple[Path, Path], tmp_path: Path) -> None:  # noqa: F811
    from transformers import AutoTokenizer

    other = shutil.copytree(policies[0], tmp_path / "other")
    tokenizer = AutoTokenizer.from_pretrained(other)
    tokenizer.add_tokens(["zebra"])
    tokenizer.save_pretrained(other)
    with pytest.raises(ModelError, match="different tokens"):
        open_policy_reader(str(other), LogprobModel(str(policies[1])))
