"""The stages that a recipe and `augment` share."""

from __future__ import annotations

from prefboost.recipes.preparation import Preparation
from prefboost.recipes.recipe import Recipe
from prefboost.runs.augment.settings import Augment
from prefboost.training import Train

STAGES = ["select", "decontaminate", "scale", "keep", "pair", "relabel", "condition"]


def test_recipes_and_augment_prepare_by_the_same_settings() -> None:
    assert list(Preparation.model_fields) == STAGES
    for cls in (Recipe, Augment):
        assert issubclass(cls, Preparation)
        for name in STAGES[1:]:
            assert cls.model_fields[name].default == Preparation.model_fields[name].default
    own = {name for name in STAGES if name in Augment.__annotations__ or name in Recipe.__annotations__}
    assert own == {"select"}, "augment alone keeps all rows unless it is told"


def test_a_recipe_begins_with_its_name_and_data_and_ends_with_training() -> None:
    assert list(Recipe.model_fields) == ["name", "data", *STAGES, "executor", "train"]
    recipe = Recipe(name="x", data="a.jsonl", train=Train(model="m"))  # type: ignore[arg-type]
    assert list(recipe.model_dump()) == list(Recipe.model_fields)


def test_rows_may_be_kept_as_they_are() -> None:
    kept = Recipe.model_validate({"name": "x", "data": "a.jsonl", "select": None, "train": {"model": "m"}})
    assert kept.select is None
    assert Recipe.model_validate(kept.model_dump(mode="json")) == kept
