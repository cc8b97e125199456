"""The recipe of implicit-reward augmentation."""

from __future__ import annotations

import pytest

from prefboost.errors import SettingsError
from prefboost.recipes.documents import apply_overrides, parse
from prefboost.recipes.implicit_reward import ImplicitRewards
from prefboost.recipes.load import dump, of_kind

TEXT = "kind: implicit_reward\nname: ira\ndata: pairs.jsonl\ntrain: {model: tiny, loss: {kind: dpo, beta: 0.3}}\n"


def made(*overrides: str) -> ImplicitRewards:
    found = of_kind(apply_overrides(parse(TEXT), overrides))
    assert isinstance(found, ImplicitRewards)
    return found


def test_scores_become_percentiles_with_one_decimal_and_both_trainings_are_alike() -> None:
    recipe = made()
    assert (recipe.scale.kind, recipe.scale.decimals) == ("percentile", 1)  # type: ignore[union-attr]
    assert recipe.training_first == recipe.train and recipe.beta == 0.3
    assert made("first={model: tiny, loss: {kind: dpo, beta: 0.7}}").beta == 0.7
    assert of_kind(parse(dump(recipe))) == recipe


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train={model: tiny, loss: sft}", "needs a loss with a beta"),
        ("relabel=plain", "uses no scores"),
        ("keep=best_of_n", "keep selects among completions with scores"),
    ],
)
def test_what_makes_no_sense_is_refused(override: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        made(override)
