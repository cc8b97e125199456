"""A recipe of reward models says which mixtures it compares, and refuses what cannot be."""

from __future__ import annotations

import pytest

from prefboost.errors import SettingsError
from prefboost.recipes.documents import apply_overrides, parse
from prefboost.recipes.load import of_kind
from prefboost.recipes.reward import RewardModels

TEXT = """
name: compared
kind: reward
parts: {real: real.jsonl, synthetic: {data: made.parquet, weight: 0.5}}
test: test.jsonl
train: {model: some/model}
"""


def made(*overrides: str) -> RewardModels:
    found = of_kind(apply_overrides(parse(TEXT), overrides))
    assert isinstance(found, RewardModels)
    return found


def test_every_part_alone_and_all_together_are_what_is_compared() -> None:
    mixed = made("parts.real={data: real.jsonl, share: 2}", "size=50").mixed
    assert list(mixed) == ["real", "synthetic", "real+synthetic"]
    shares = {model: {name: part.share for name, part in how.parts.items()} for model, how in mixed.items()}
    assert shares["real"] == {"real": 1.0} and shares["real+synthetic"] == {"real": 2.0, "synthetic": 1.0}
    assert mixed["synthetic"].parts["synthetic"].weight == 0.5 and {how.size for how in mixed.values()} == {50}


def test_mixtures_may_be_named_and_a_share_of_nothing_leaves_a_part_out() -> None:
    mixed = made("mixtures={half: {real: 1, synthetic: 1}, none: {real: 1, synthetic: 0}}").mixed
    assert {model: list(how.parts) for model, how in mixed.items()} == {"half": ["real", "synthetic"], "none": ["real"]}


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("mixtures={half: {reel: 1}}", "names reel, and the parts are real, synthetic"),
        ("mixtures={half: {real: 0}}", "no part with a share above 0"),
        ("mixtures={a/b: {real: 1}}", "without /"),
        ("train.loss=regression", "the loss regression takes scores"),
    ],
)
def test_what_cannot_be_is_refused_by_name(override: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        made(override)
