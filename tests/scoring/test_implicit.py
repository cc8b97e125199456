"""Implicit rewards are beta times the log-ratio of two models, and make binary pairs relabelable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pickling_pool import PicklingPool
from tests.scoring.conftest import completions_table, pairs_table

from prefboost.engines.pool import work_with
from prefboost.errors import ModelError
from prefboost.preferences import relabel
from prefboost.scoring import ImplicitReward

pytestmark = pytest.mark.torch

PAIRS = [("one", "a cat", "b"), ("two", "yes", "no no"), ("one", "a dog", "b"), ("three", "x", "a long answer")]


def logp(folder: Path, prompt: str, answer: str) -> tuple[float, int]:
    """Log-prob of the completion and its tokens, by the model's own logits."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    head = tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
    )
    ids = tokenizer(head + answer + "<|im_end|>", add_special_tokens=False, return_tensors="pt")["input_ids"]
    start = len(tokenizer(head, add_special_tokens=False)["input_ids"])
    with torch.no_grad():
        each = model(ids).logits[0, :-1].log_softmax(-1).gather(-1, ids[0, 1:, None])[start - 1 :]
    return float(each.sum()), len(each)


@pytest.mark.parametrize("normalise", [False, True])
def test_scores_are_the_scaled_log_ratios(normalise: bool, policies: tuple[Path, Path]) -> None:
    scorer = ImplicitReward(
        policy=str(policies[0]), reference=str(policies[1]), beta=0.3, length_normalise=normalise, batch_tokens=64
    )
    frame = scorer.score(pairs_table(PAIRS)).frame
    for row, texts in zip(frame.iter_rows(named=True), PAIRS, strict=True):
        for side, answer in (("score_chosen", texts[1]), ("score_rejected", texts[2])):
            (ours, tokens), (theirs, _) = logp(policies[0], texts[0], answer), logp(policies[1], texts[0], answer)
            assert row[side] == pytest.approx(0.3 * (ours - theirs) / (tokens if normalise else 1), abs=1e-4)


def test_models_on_a_pool_give_the_same_scores(policies: tuple[Path, Path]) -> None:
    scorer = ImplicitReward(policy=str(policies[0]), reference=str(policies[1]), batch_tokens=64)
    alone, pool = scorer.score(pairs_table(PAIRS)), PicklingPool()
    with work_with(pool):
        assert scorer.score(pairs_table(PAIRS)).frame.equals(alone.frame)
    assert pool.calls.count("describe") == 2 and pool.calls.count("compute") > 2


def test_a_revision_is_that_of_the_reference_alone(
    policies: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefboost.engines.models import weights

    loaded: list[tuple[str, str, str | None]] = []

    def noting(name: str) -> None:
        original = getattr(weights, name)

        def load(model: str, *args: Any, revision: str | None = None, **options: Any) -> Any:
            loaded.append((name, model, revision))
            return original(model, *args, revision=revision, **options)

        monkeypatch.setattr(weights, name, load)

    noting("load_tokenizer")
    noting("load_causal_lm")
    ours, theirs = map(str, policies)
    ImplicitReward(policy=ours, reference=theirs, reference_revision="v2").score(completions_table([("one", "a")]))
    for name in ("load_tokenizer", "load_causal_lm"):
        assert (name, ours, None) in loaded and (name, theirs, "v2") in loaded


def test_the_reference_itself_has_reward_0(policies: tuple[Path, Path]) -> None:
    scorer = ImplicitReward(policy=str(policies[1]), reference=str(policies[1]))
    assert scorer.score(completions_table([("one", "a"), ("two", "b")])).frame["score"].to_list() == [0.0, 0.0]


def test_binary_pairs_can_be_relabelled_afterwards(policies: tuple[Path, Path]) -> None:
    scorer = ImplicitReward(policy=str(policies[0]), reference=str(policies[1]), scale="percentile")
    scored = scorer.score(pairs_table(PAIRS))
    wrong = scored.steps[-2].notes["pairs that the policy ranks the other way round"]
    goals = relabel(scored)
    assert 0 < wrong < len(PAIRS)
    assert len(goals) == 2 * (len(PAIRS) - wrong)
    assert goals.frame["goal"].min() >= 1.0 and goals.frame["goal"].max() <= 10.0


def test_models_with_other_tokens_cannot_be_compared(policies: tuple[Path, Path], tmp_path: Path) -> None:
    from tests.training.conftest import build_model, build_tokenizer

    tokenizer = build_tokenizer()
    tokenizer.add_tokens(["new"])
    build_model(vocab_size=260).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="have different tokens"):
        ImplicitReward(policy=str(policies[0]), reference=str(tmp_path)).score(pairs_table(PAIRS))


def test_long_conversations_are_rejects(policies: tuple[Path, Path]) -> None:
    scorer = ImplicitReward(policy=str(policies[0]), reference=str(policies[1]), max_length=60)
    scored = scorer.score(pairs_table([*PAIRS, ("four", "a", "z" * 90)]))
    assert len(scored) == 4 and scored.rejects["id"].to_list() == ["p4"]
