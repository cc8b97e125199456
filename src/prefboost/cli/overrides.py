"""The grammar of ``key=value`` on the command line.

A verb lists its names and the branch of settings that each belongs to; everything else is the same for all verbs: names
may stand alone, a model may be written as on the command line of generate, and a wrong name is one line with the
nearest right one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from prefboost.errors import SettingsError, suggest_name

if TYPE_CHECKING:
    from prefboost.settings import Settings

    S = TypeVar("S", bound=Settings)

__all__ = [
    "Branch",
    "Names",
    "expand_model",
    "get_first_name",
    "load_settings_class",
    "place_overrides",
    "read_kind",
    "read_overrides",
    "refuse_name",
    "split_overrides",
]

Branch = str | Callable[[str, str], list[str]]
"""Branch of a name: its path, e.g. ``train.``, empty at the top; or key and value -> overrides with whole paths."""

Names = Mapping[str, Branch]
"""Names that a verb understands -> branch."""

_ENGINES = ("generator", "editor", "engine", "reviewer")
"""Names of settings that hold a model."""


def get_first_name(override: str) -> str:
    """Return the name in front of the first dot or equals sign."""
    return override.partition("=")[0].partition(".")[0].strip()


def split_overrides(overrides: Iterable[str], names: Collection[str]) -> tuple[list[str], list[str]]:
    """Split overrides into those whose first name is one of ``names``, and the others."""
    chosen: list[str] = []
    others: list[str] = []
    for text in overrides:
        (chosen if get_first_name(text) in names else others).append(text)
    return chosen, others


def place_overrides(overrides: Iterable[str], names: Names, hint: str = "") -> list[str]:
    """Write every override with its whole path.

    Args:
        overrides: ``key=value`` or ``key.deeper=value``.
        names: first names that are understood.
        hint: further names, for the message about a wrong one.

    Raises:
        SettingsError: an override is not written so, or its first name is not among the names.
    """
    placed: list[str] = []
    for text in overrides:
        branch = names.get(get_first_name(text))
        if "=" not in text or branch is None:
            raise refuse_name(text, names, hint)
        key, _, value = text.partition("=")
        paths = [branch + text] if isinstance(branch, str) else branch(key.strip(), value.strip())
        if not paths:
            raise refuse_name(text, names, hint)
        placed += paths
    return placed


def refuse_name(override: str, names: Iterable[str], hint: str = "") -> SettingsError:
    """Build the error of an override without a value, or with a wrong name; it offers the nearest right one."""
    choices = sorted(names)
    name = get_first_name(override)
    if name in choices and "=" not in override:
        return SettingsError(f"override {override!r} has no value", remedy=f"write {override}=VALUE")
    from prefboost.recipes.other_names import suggest_own_name

    suggestion = suggest_own_name([name], choices)
    nearest = f"; {suggestion}" if suggestion else suggest_name(name, choices)
    return SettingsError(
        f"override {override!r}: {name} is not a setting here{nearest}",
        remedy=f"write key=value; settings here: {', '.join(choices)}{hint}",
    )


def read_overrides(
    cls: type[S], overrides: Iterable[str], names: Names | None = None, base: Mapping[str, Any] | None = None
) -> S:
    """Read settings from ``key=value``.

    Args:
        cls: the settings.
        overrides: of the command line.
        names: first names that are understood; none: the fields of the class.
        base: settings that the overrides change; others have their defaults.

    Raises:
        SettingsError: one line for every wrong override.
    """
    from prefboost.recipes.documents import Document
    from prefboost.recipes.validate import validate_with

    placed = list(overrides) if names is None else place_overrides(overrides, names)
    return validate_with(cls, Document(dict(base or {})), placed)


def read_kind(overrides: Sequence[str], cls: type[S], part: str, kinds: Mapping[str, type[Settings]]) -> S:
    """Read settings of which one part is chosen by ``kind``: names of that part's settings stand alone.

    Args:
        overrides: ``key=value``.
        cls: the settings, with the field ``part``; its other fields are named as they are.
        part: the field that ``kind`` chooses.
        kinds: kind -> settings class; ``kind=package.module:Class`` chooses anyone's class.

    Raises:
        SettingsError: no kind is named; one line for every wrong override.
    """
    chosen = [text.partition("=")[2].strip() for text in overrides if text.partition("=")[0].strip() == "kind"]
    foreign = [load_settings_class(kind, kinds) for kind in chosen if ":" in kind]
    others = [name for name in cls.model_fields if name != part]
    names = {
        "kind": f"{part}.",
        **{name: f"{part}." for kind in [*kinds.values(), *foreign] for name in kind.model_fields},
        **dict.fromkeys(others, ""),
    }
    if not chosen:
        # A wrong name is the likelier mistake, so it is named first.
        place_overrides(overrides, names)
        raise SettingsError(f"no {part} is named", remedy=f"write kind=, one of {', '.join(kinds)}")
    return read_overrides(cls, overrides, names)


def load_settings_class(kind: str, kinds: Mapping[str, type[Settings]]) -> type[Settings]:
    """Return the settings of a kind: a built-in one, or ``package.module:Class``.

    Raises:
        SettingsError: there is no such class.
    """
    from prefboost.settings import load_class

    if kind in kinds:
        return kinds[kind]
    try:
        return load_class(kind)
    except ValueError as error:
        raise SettingsError(str(error), remedy="the class must be importable from here") from error


def expand_model(override: str) -> str:
    """Write ``generator=MODEL`` as the settings of an engine; return every other override as it is."""
    from prefboost.engines.kinds import parse_engine

    key, _, value = override.partition("=")
    last, value = key.strip().rpartition(".")[2], value.strip()
    if last in _ENGINES and not value.startswith("{"):
        return f"{key.strip()}={json.dumps(parse_engine(value))}"
    if last == "pool" and not value.startswith("[{"):
        models = [part.strip() for part in value.strip("[]").split(",")]
        return f"{key.strip()}={json.dumps([parse_engine(model) for model in models])}"
    return override
