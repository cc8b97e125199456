"""Recipes from YAML and ``key=value``, and back to YAML."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from prefboost.errors import Place, SettingsError, suggest_name
from prefboost.recipes.documents import Document, KeyPath, apply_overrides, parse, write_yaml
from prefboost.recipes.kinds import OFFLINE, RECIPES, AnyRecipe
from prefboost.recipes.recipe import Recipe
from prefboost.recipes.tree import default_at
from prefboost.recipes.validate import validate
from prefboost.settings import Settings

__all__ = ["SCHEMA_LINE", "SHIPPED", "dump", "load", "load_any", "of_kind", "list_shipped_recipes", "read_recipe_text"]

SHIPPED = Path(__file__).parent / "shipped"
"""The recipes that come with the package."""

SCHEMA_LINE = "# yaml-language-server: $schema=https://OWNER.github.io/prefboost/reference/recipe.schema.json"
"""First line of a recipe: where editors find its settings (docs/reference/recipe.schema.json, on the site)."""


def load(recipe: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """Load a recipe whose data are there (kind offline, the one that need not be named).

    Args:
        recipe: a YAML file, or the name of a shipped recipe such as ``qwen2-7b-ra``.
        overrides: ``dotted.path=value``, applied in order.

    Raises:
        SettingsError: no such recipe, one of another kind, or one line for every wrong setting: file:line, key, hint.
    """
    loaded = load_any(recipe, overrides)
    if not isinstance(loaded, Recipe):
        raise SettingsError(
            f"{recipe} is a recipe of kind {loaded.kind}, which has several stages", remedy=f"prefboost run {recipe}"
        )
    return loaded


def load_any(recipe: str | Path, overrides: Iterable[str] = ()) -> AnyRecipe:
    """Load a recipe of any kind; arguments and errors are those of `load`."""
    path = _find(recipe)
    text = read_recipe_text(path)
    # A shipped recipe is shown by its name, not by where the package is installed.
    name = str(path) if path.parent != SHIPPED else path.name

    def begin_branch(values: Any, path: KeyPath) -> dict[str, Any]:
        # An unknown kind has no defaults; `of_kind` refuses it with the kinds that there are.
        kind = values.get("kind", OFFLINE) if isinstance(values, Mapping) else OFFLINE
        root = RECIPES.get(kind) if isinstance(kind, str) else None
        return {} if root is None else default_at(root, values, path)

    return of_kind(apply_overrides(parse(text, path=name), overrides, begin_branch))


def read_recipe_text(path: Path) -> str:
    """Read the text of a recipe's file.

    Raises:
        SettingsError: it cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"cannot read the recipe: {error}", remedy="give a YAML file in UTF-8", place=Place(str(path))
        ) from None


def of_kind(document: Document) -> AnyRecipe:
    """Read a document as a recipe of the kind that it names.

    Raises:
        SettingsError: an unknown kind, or one line for every wrong setting.
    """
    values = document.values
    kind = values.get("kind", OFFLINE) if isinstance(values, Mapping) else OFFLINE
    if not isinstance(kind, str) or kind not in RECIPES:
        hint = suggest_name(kind, RECIPES, "did you mean {}? ")
        raise SettingsError(
            f"{document.origin(('kind',))}: kind {kind!r} is not a kind of recipe",
            remedy=f"{hint}kinds: {', '.join(RECIPES)}",
        )
    # Recipes of the first kind name none: the settings have no field for it.
    if kind == OFFLINE and isinstance(values, Mapping):
        document = Document({key: value for key, value in values.items() if key != "kind"}, document.origins)
    return validate(RECIPES[kind], document)


def dump(recipe: Settings) -> str:
    """Write a recipe as YAML that loads to an equal object, with defaults, and with its schema for editors."""
    return f"{SCHEMA_LINE}\n{write_yaml(recipe.model_dump(mode='json'))}"


def list_shipped_recipes() -> list[str]:
    """List the recipes that come with the package."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def _find(recipe: str | Path) -> Path:
    path = Path(recipe)
    if path.is_file():
        return path
    if str(recipe) in list_shipped_recipes():
        return SHIPPED / f"{recipe}.yaml"
    hint = suggest_name(recipe, list_shipped_recipes(), "did you mean {}? ")
    raise SettingsError(
        f"no recipe {str(recipe)!r}: neither a file nor a shipped recipe",
        remedy=f"{hint}shipped recipes: {', '.join(list_shipped_recipes())}",
    )
