"""Arms change one part of the recipe, take the same pairs, and as many rows where they should."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefboost.errors import SettingsError
from prefboost.losses import SFT
from prefboost.losses.weighted_sum import find_betas
from prefboost.preferences import Plain, RewardAugmented
from prefboost.recipes.implicit_reward import ImplicitRewards
from prefboost.recipes.recipe import Recipe
from prefboost.runs.pipelines.offline import prepare
from prefboost.runs.reproduce.arms import ARMS, build_arm_recipe, searches_beta

from .conftest import build_settings

TRAINING = {"learning_rate": 1e-4, "seed": 3, "max_steps": 7}


@pytest.fixture
def recipe(scored: Path) -> Recipe:
    return build_settings(Path("nowhere"), scored).recipe


@pytest.mark.parametrize("in_sum", [False, True])
@pytest.mark.parametrize("name", ARMS)
def test_every_arm_takes_the_shared_settings_and_its_beta(scored: Path, name: str, in_sum: bool) -> None:
    loss = {"kind": "sum", "terms": [{"loss": {"kind": "dpo", "beta": 0.2}}, {"loss": "sft", "weight": 0.5}]}
    recipe = build_settings(Path("nowhere"), scored, loss=loss if in_sum else "dpo").recipe
    beta = 0.07 if searches_beta(name, recipe) else None
    assert (beta is None) == (name == "conditional_sft")
    built = build_arm_recipe(name, recipe, TRAINING, beta)
    assert (built.train.learning_rate, built.train.seed, built.train.max_steps) == (1e-4, 3, 7)
    assert find_betas(built.train.loss) == ([] if beta is None else [beta])
    if in_sum and name != "conditional_sft":
        # The preference term is the arm's own, and the other one stays.
        first, second = built.train.loss.terms  # type: ignore[attr-defined]
        assert first.loss.kind == {"rpo": "rpo", "margin_dpo": "margin_dpo"}.get(name, "dpo")
        assert (second.loss, second.weight) == (SFT(), 0.5)
    if isinstance(built, ImplicitRewards):
        assert built.beta == beta
    assert built.train.model == recipe.train.model and built.pair == recipe.pair
    assert isinstance(built, ImplicitRewards) == (name == "implicit_ra")


def test_plain_arms_have_the_pairs_and_the_rows_of_reward_augmentation(recipe: Recipe) -> None:
    tables = {name: prepare(build_arm_recipe(name, recipe, TRAINING, 0.1)) for name in ("ra", "dpo", "high_goal_only")}
    assert len({len(table) for table in tables.values()}) == 1
    assert len({frozenset(table.frame["pair_id"]) for table in tables.values()}) == 1
    assert tables["dpo"].frame["goal"].is_null().all()
    assert tables["ra"].frame["flipped"].any() and not tables["high_goal_only"].frame["flipped"].any()


def test_the_grid_spans_the_scale(recipe: Recipe) -> None:
    built = build_arm_recipe("grid", recipe, TRAINING, 0.1)
    assert built.relabel.grid == (1.0, 4.0, 7.0, 10.0)


def test_goals_of_aspects_are_those_of_one_arm(scored: Path) -> None:
    recipe = build_settings(Path("nowhere"), scored, arms=["aspects_ra"], relabel={"aspects": ["size"]}).recipe
    for name in ARMS:
        relabel = build_arm_recipe(name, recipe, TRAINING, None).relabel
        used = relabel if isinstance(relabel, RewardAugmented) else relabel.like
        assert used is not None and used.aspects == (("size",) if name == "aspects_ra" else ())


def test_a_loss_with_a_reference_has_one_whatever_the_recipes_loss(scored: Path) -> None:
    recipe = build_settings(Path("nowhere"), scored, loss="simpo").recipe
    bare = recipe.model_copy(update={"train": recipe.train.model_copy(update={"reference": "none"})})
    assert build_arm_recipe("rpo", bare, TRAINING, 0.1).train.reference == "start"
    assert build_arm_recipe("dpo", bare, TRAINING, 0.1).train.reference == "none"


def test_a_recipe_without_reward_augmentation_is_refused(recipe: Recipe) -> None:
    with pytest.raises(SettingsError, match="reward-augmented"):
        build_arm_recipe("dpo", recipe.model_copy(update={"relabel": Plain()}), TRAINING, 0.1)
