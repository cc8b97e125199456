"""The part of a recipe that a stage reads, which is the part that its key is made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from prefboost.settings import Settings

__all__ = ["TOKEN_SETTINGS", "RecipePart", "take_part"]

TOKEN_SETTINGS = ("train.model", "train.revision", "train.chat_template")
"""Paths of the settings that decide how texts become tokens."""

AnySettings = TypeVar("AnySettings", bound=Settings)


@dataclass(frozen=True)
class RecipePart(Generic[AnySettings]):
    """Some settings of a recipe, from one list of paths: for a stage's work and for its key.

    Args:
        recipe: the recipe without all else; reading what no path names raises an AttributeError.
        settings: JSON values that the key is made of.
    """

    recipe: AnySettings
    settings: Mapping[str, Any]


def take_part(
    recipe: AnySettings, paths: tuple[str, ...], *, flat: tuple[str, ...] = (), free: tuple[str, ...] = ()
) -> RecipePart[AnySettings]:
    """Take the part of a recipe that a stage reads.

    Args:
        recipe: the whole.
        paths: dotted paths of what the work reads, e.g. ``train.model``; the key holds them as a tree.
        flat: further ones, which the key holds by their dotted path.
        free: what the work may read besides: it changes no output, or an input or an earlier stage depends on it.
    """
    settings = _dump(recipe, paths)
    for path in flat:
        value: Any = _dump(recipe, [path])
        for name in path.split("."):
            value = None if value is None else value[name]
        settings[path] = value
    return RecipePart(_restrict(recipe, (*paths, *flat, *free)), settings)


def _dump(settings: Settings, paths: Iterable[str]) -> dict[str, Any]:
    include: Any = {name: True if "" in below else set(below) for name, below in _group_by_head(paths).items()}
    dumped: dict[str, Any] = settings.model_dump(mode="json", include=include)
    return dumped


def _restrict(settings: AnySettings, paths: Iterable[str]) -> AnySettings:
    readable: Mapping[str, list[str]] = _group_by_head(paths)
    view = settings.model_copy()
    # Fields of pydantic lie in the instance's dictionary alone: one that is taken out there cannot be read any more,
    # and properties that would read it fail too, while `isinstance` still holds.
    fields = vars(view)
    for name, value in list(fields.items()):
        if name not in readable:
            del fields[name]
        elif "" not in readable[name] and isinstance(value, Settings):
            fields[name] = _restrict(value, readable[name])
    return view


def _group_by_head(paths: Iterable[str]) -> dict[str, list[str]]:
    """Group dotted paths by their first name; "" stands for the whole of it."""
    groups: dict[str, list[str]] = {}
    for path in paths:
        head, _, rest = path.partition(".")
        groups.setdefault(head, []).append(rest)
    return groups
