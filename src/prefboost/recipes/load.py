"""Recipes from YAML and ``key=value``, and back to YAML."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

from prefboost.errors import Place, SettingsError
from prefboost.recipes.documents import parse, with_overrides, write
from prefboost.recipes.recipe import Recipe
from prefboost.recipes.validate import validate
from prefboost.settings import Settings

__all__ = ["SHIPPED", "dump", "load", "shipped_names"]

SHIPPED = Path(__file__).parent / "shipped"
"""The recipes that come with the package."""


def load(recipe: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """Load a recipe.

    Args:
        recipe: a YAML file, or the name of a shipped recipe such as ``qwen2-7b-ra``.
        overrides: ``dotted.path=value``, applied in order.

    Raises:
        SettingsError: no such recipe, or one line for every wrong setting: file:line, key, hint.
    """
    path = _find(recipe)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"cannot read the recipe: {error}", remedy="give a YAML file in UTF-8", place=Place(str(path))
        ) from None
    shown = str(path) if path.parent != SHIPPED else path.name
    return validate(Recipe, with_overrides(parse(text, path=shown), overrides))


def dump(recipe: Settings) -> str:
    """Settings as YAML that loads to an equal object; defaults are written out."""
    return write(recipe.model_dump(mode="json"))


def shipped_names() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def _find(recipe: str | Path) -> Path:
    path = Path(recipe)
    if path.is_file():
        return path
    if str(recipe) in shipped_names():
        return SHIPPED / f"{recipe}.yaml"
    near = difflib.get_close_matches(str(recipe), shipped_names(), n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise SettingsError(
        f"no recipe {str(recipe)!r}: neither a file nor a shipped recipe",
        remedy=f"{hint}shipped recipes: {', '.join(shipped_names())}",
    )
