"""The reward-model scorer gives what the model's own forward gives, text by text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.scoring.conftest import completions_table, pairs_table

from prefboost.errors import DataError, ModelError
from prefboost.scoring import RewardModelScorer
from prefboost.tables import SCORED_COMPLETIONS

pytestmark = pytest.mark.torch

TEXTS = [("one", "a"), ("one", "a cat"), ("one", "a cat and a dog"), ("two", "b"), ("two", "a cat")]


def by_transformers(folder: Path, texts: list[tuple[str, str]]) -> torch.Tensor:
    """The published way: one conversation at a time through the chat template."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    found = []
    for prompt, answer in texts:
        talk = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
        ids = tokenizer.apply_chat_template(talk, return_tensors="pt", return_dict=True)["input_ids"]
        with torch.no_grad():
            found.append(model(ids).logits[0])
    return torch.stack(found)


def test_scores_are_the_model_s_own(judge_folder: Callable[..., Path]) -> None:
    folder = judge_folder("overall")
    scored = RewardModelScorer(model=str(folder)).score(completions_table(TEXTS))
    assert scored.spec is SCORED_COMPLETIONS and scored.steps[-1].notes["packed"] is True
    expected = by_transformers(folder, TEXTS)[:, 0].tolist()
    assert scored.frame["score"].to_list() == pytest.approx(expected, abs=1e-4)


def test_both_sides_of_a_pair_are_scored(judge_folder: Callable[..., Path]) -> None:
    folder = judge_folder("overall")
    scored = RewardModelScorer(model=str(folder), batch_tokens=40).score(pairs_table([("one", "a cat", "b")]))
    expected = by_transformers(folder, [("one", "a cat"), ("one", "b")])[:, 0].tolist()
    row = scored.frame.row(0, named=True)
    assert [row["score_chosen"], row["score_rejected"]] == pytest.approx(expected, abs=1e-4)


def test_heads_become_aspects_and_the_score_their_weighted_sum(judge_folder: Callable[..., Path]) -> None:
    folder = judge_folder("helpful", "honest")
    expected = by_transformers(folder, TEXTS)
    frame = RewardModelScorer(model=str(folder), weights={"honest": 2.0}).score(completions_table(TEXTS)).frame
    assert frame["score.helpful"].to_list() == pytest.approx(expected[:, 0].tolist(), abs=1e-4)
    assert frame["score"].to_list() == pytest.approx((2 * expected[:, 1]).tolist(), abs=1e-4)
    mean = RewardModelScorer(model=str(folder)).score(completions_table(TEXTS)).frame["score"]
    assert mean.to_list() == pytest.approx(expected.mean(1).tolist(), abs=1e-4)


def test_an_unknown_head_is_named(judge_folder: Callable[..., Path]) -> None:
    scorer = RewardModelScorer(model=str(judge_folder("helpful", "honest")), weights={"kind": 1.0})
    with pytest.raises(ModelError, match="has no head kind; it has helpful, honest"):
        scorer.score(completions_table(TEXTS))


def test_the_budget_changes_no_score(judge_folder: Callable[..., Path]) -> None:
    small, large = (
        RewardModelScorer(model=str(judge_folder("overall")), batch_tokens=size).score(completions_table(TEXTS)).frame
        for size in (1, 10_000)
    )
    assert small["score"].to_list() == pytest.approx(large["score"].to_list(), abs=1e-5)


def test_conversations_that_are_too_long_are_counted(judge_folder: Callable[..., Path]) -> None:
    table = completions_table([*TEXTS, ("three", "long " * 30)])
    scored = RewardModelScorer(model=str(judge_folder("overall")), max_length=100).score(table)
    assert len(scored) == 5
    assert scored.rejects["reason"].to_list() == ["the conversation is longer than the model can see"]
    assert scored.rejects["found"][0].endswith("tokens, at most 100")


def test_a_table_of_which_nothing_can_be_scored_is_an_error(judge_folder: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match="none of 5 rows could be scored: the conversation is longer"):
        RewardModelScorer(model=str(judge_folder("overall")), max_length=2).score(completions_table(TEXTS))


def test_a_scale_is_fitted_and_kept_with_the_table(judge_folder: Callable[..., Path]) -> None:
    scored = RewardModelScorer(model=str(judge_folder("overall")), scale="min_max").score(completions_table(TEXTS))
    assert scored.frame["score"].min() == 1.0 and scored.frame["score"].max() == 10.0
    assert scored.scales[""].kind == "min_max"
