"""Documents to settings: every error at once, each at the line or override it comes from, with a hint."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from prefboost.errors import Place, SettingsError
from prefboost.recipes.documents import Begins, Document, KeyPath, apply_overrides
from prefboost.recipes.other_names import suggest_own_name
from prefboost.recipes.tree import classes_at, default_at
from prefboost.settings import Settings

__all__ = ["validate_with", "override", "validate"]

S = TypeVar("S", bound=Settings)


def validate(cls: type[S], document: Document) -> S:
    """Turn a document into settings.

    Raises:
        SettingsError: one line for every wrong setting.
    """
    if not isinstance(document.values, Mapping):
        origin = document.origin(())
        raise SettingsError(
            f"a mapping of settings is needed, found {type(document.values).__name__} {document.values!r:.60}",
            remedy="write `name: value` lines",
            place=origin if isinstance(origin, Place) else None,
        )
    try:
        return cls.model_validate(document.values)
    except ValidationError as error:
        faults = sorted(_describe_fault(cls, document, detail) for detail in error.errors(include_url=False))
        # In reading order, so that the first line is the first to mend.
        lines = [f"{where}: {what}" if where else what for _, where, what in faults]
        raise SettingsError("\n".join(lines), remedy="`prefboost explain KEY` describes a setting") from None


def override(settings: S, overrides: Iterable[str]) -> S:
    """Apply ``dotted.path=value`` overrides to settings, e.g. to the defaults of a verb without a recipe.

    Raises:
        SettingsError: one line for every wrong override.
    """
    return validate_with(type(settings), Document(settings.model_dump(mode="json")), overrides)


def validate_with(cls: type[S], document: Document, overrides: Iterable[str]) -> S:
    """Read a document with overrides as settings; a branch that it leaves out has its defaults.

    Raises:
        SettingsError: one line for every wrong setting or override.
    """
    begins: Begins = partial(default_at, cls)
    return validate(cls, apply_overrides(document, overrides, begins))


def _describe_fault(cls: type[Settings], document: Document, detail: ErrorDetails) -> tuple[int, str, str]:
    """Return line (0: an override), place as text, and sentence of an error, which sort in reading order."""
    path = _path_in(document.values, detail)
    dotted = ".".join(map(str, path)) or "the recipe"
    origin = document.origin(path)
    line = (origin.line or 0) if isinstance(origin, Place) else 0
    # Several classes where the document does not settle which arm of a union is meant.
    classes = classes_at(cls, path[:-1], document.values)
    if detail["type"] == "extra_forbidden":
        names = list(dict.fromkeys(name for each in classes for name in each.model_fields))
        near = difflib.get_close_matches(str(path[-1]), names, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"settings here: {', '.join(names) or 'none'}"
        return line, str(origin), f"{dotted} is not a setting here; {suggest_own_name(path, names) or hint}"
    if detail["type"] == "missing":
        fields = [each.model_fields[str(path[-1])] for each in classes if str(path[-1]) in each.model_fields]
        about = f" ({fields[0].description})" if fields and fields[0].description else ""
        return line, str(origin), f"{dotted} is missing{about}"
    reason = detail["msg"].removeprefix("Value error, ")
    reason = reason[:1].lower() + reason[1:] if reason.startswith(("Input", "String", "Value", "List")) else reason
    value = repr(detail["input"])
    # Of a mapping whose parts disagree, the reason names what matters.
    is_named = value in reason or isinstance(detail["input"], Mapping)
    return line, str(origin), f"{dotted}: {reason}" + ("" if is_named else f", found {value[:80]}")


def _path_in(values: Any, detail: ErrorDetails) -> KeyPath:
    """Return the path of an error as the document has it."""
    # The path that pydantic gives has the arms of unions as further steps.
    path: list[str | int] = []
    here, arm_seen = values, False
    last = len(detail["loc"]) - 1
    for position, step in enumerate(detail["loc"]):
        is_arm = isinstance(here, str) or (isinstance(here, Mapping) and here.get("kind") == step and not arm_seen)
        if is_arm and position != last:
            arm_seen = True
        elif _holds(here, step):
            path.append(step)
            here, arm_seen = here[step], False
        elif position == last and detail["type"] == "missing":
            path.append(step)
    return tuple(path)


def _holds(values: Any, step: str | int) -> bool:
    if isinstance(values, Mapping):
        return step in values
    return isinstance(values, list) and isinstance(step, int) and step < len(values)
