"""A part of a recipe can be read, and is what the key holds; the rest cannot be read."""

import pytest

from prefboost.recipes.documents import parse
from prefboost.recipes.load import of_kind
from prefboost.recipes.recipe import Recipe
from prefboost.runs.pipelines.parts import TOKEN_SETTINGS, take_part


def load_recipe() -> Recipe:
    recipe = of_kind(parse("{name: x, data: a.jsonl, train: {model: m}}"))
    assert isinstance(recipe, Recipe)
    return recipe


def test_what_no_path_names_cannot_be_read() -> None:
    part = take_part(load_recipe(), ("condition", *TOKEN_SETTINGS), free=("keep",))
    assert isinstance(part.recipe, Recipe) and part.recipe.train.model == "m" and part.recipe.keep is None
    assert part.recipe.condition == load_recipe().condition
    for read in (lambda: part.recipe.relabel, lambda: part.recipe.train.loss, lambda: part.recipe.data):
        with pytest.raises(AttributeError):
            read()


def test_the_key_holds_what_may_be_read_but_for_what_is_free() -> None:
    recipe = load_recipe()
    part = take_part(recipe, ("keep", "train.model"), flat=("train.revision",), free=("relabel",))
    assert part.settings == {"keep": None, "train": {"model": "m"}, "train.revision": None}
    assert take_part(recipe, ("train.model", "train")).settings == {"train": recipe.train.model_dump(mode="json")}


def test_the_recipe_stays_whole() -> None:
    recipe = load_recipe()
    take_part(recipe, ("keep",))
    assert recipe == load_recipe()
