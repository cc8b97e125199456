"""The tree of a recipe."""

from __future__ import annotations

import ast
from functools import lru_cache
from pathlib import Path

import pytest
from pydantic import ValidationError

from prefboost.recipes.kinds import RECIPES
from prefboost.recipes.recipe import Recipe, path_as_file
from prefboost.recipes.tree import settings_of
from prefboost.settings import Settings
from prefboost.training import Train

SOURCE = Path(__file__).parents[2] / "src" / "prefboost"


def test_a_path_is_short_for_a_file_source() -> None:
    train = Train(model="m")
    short = Recipe(name="x", data="some/scored.jsonl", train=train)  # type: ignore[arg-type]
    whole = Recipe.model_validate({"name": "x", "data": {"kind": "file", "path": "some/scored.jsonl"}, "train": train})
    more = Recipe.model_validate({"name": "x", "data": {"kind": "scored.jsonl", "split": "train"}, "train": train})
    assert short == whole
    assert (more.data.path, more.data.split) == ("scored.jsonl", "train")  # type: ignore[attr-defined]


@pytest.mark.parametrize("address", ["s3://bucket/scored.jsonl", "memory://scored/", "gs://bucket/part-*.parquet"])
def test_an_address_is_short_for_a_file_source_too(address: str) -> None:
    recipe = Recipe.model_validate({"name": "x", "data": address, "train": Train(model="m")})
    assert (recipe.data.kind, recipe.data.path) == ("file", address)  # type: ignore[attr-defined]
    assert path_as_file({"kind": address, "split": "train"}) == {"kind": "file", "path": address, "split": "train"}
    assert path_as_file("package.module:Class") == "package.module:Class"


@pytest.mark.parametrize("name", ["", "a/b", "../x", ".hidden", "a b"])
def test_a_name_that_is_no_folder_name_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        Recipe(name=name, data="x.jsonl", train=Train(model="m"))  # type: ignore[arg-type]


def every_class(root: type[Settings]) -> dict[str, type[Settings]]:
    found = {root.__name__: root}
    for each in settings_of(root):
        for below in each.classes:
            if below.__name__ not in found:
                found |= every_class(below)
    return found


@lru_cache
def names_read() -> set[str]:
    """Names that the sources mention as an attribute or as text."""
    return {
        name
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in ([node.attr] if isinstance(node, ast.Attribute) else
                     [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else [])
    }  # fmt: skip


EVERY = {name: cls for kind in RECIPES.values() for name, cls in every_class(kind).items()}


@pytest.mark.parametrize("cls", EVERY.values(), ids=lambda cls: cls.__name__)
def test_every_setting_has_one_sentence_and_is_read_somewhere(cls: type[Settings]) -> None:
    read = names_read()
    for name, field in cls.model_fields.items():
        assert field.description, f"{cls.__name__}.{name} has no description"
        assert name in read, f"{cls.__name__}.{name} is never read"
