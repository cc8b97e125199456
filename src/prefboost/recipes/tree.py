"""Walking a tree of settings classes: which settings there are at a dotted path, and what each may hold."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from prefboost.settings import Settings, choice, kind_of

__all__ = ["Setting", "arms_of", "classes_at", "default_at", "settings_of"]


@dataclass(frozen=True)
class Setting:
    """One setting as a help page shows it. ``arms`` is empty unless the setting is chosen by ``kind``."""

    name: str
    holds: str
    default: str
    description: str
    arms: Mapping[str, type[Settings]]
    classes: tuple[type[Settings], ...]

    @property
    def required(self) -> bool:
        """Whether a recipe must give it."""
        return not self.default


def settings_of(cls: type[Settings]) -> list[Setting]:
    """List the settings of a class in the order of their declaration."""
    settings = []
    for name, field in cls.model_fields.items():
        default = field.get_default(call_default_factory=True, validated_data={})
        settings.append(
            Setting(
                name=name,
                holds=_type_text(field.annotation, any(isinstance(mark, choice) for mark in field.metadata)),
                default="" if default is PydanticUndefined else _default_text(default),
                description=field.description or "",
                arms=arms_of(field),
                classes=tuple(_classes(field)),
            )
        )
    return settings


def arms_of(field: FieldInfo) -> dict[str, type[Settings]]:
    """Return the arms of a field that is an open union, kind -> class; empty for other fields."""
    # A union that is the field itself stands in the metadata; one within a list or optional field, in the annotation.
    unions = [mark for mark in field.metadata if isinstance(mark, choice)] or _choices_within(field.annotation)
    return {kind: arm for union in unions for kind, arm in union.arms.items()}


def classes_at(root: type[Settings], path: Sequence[str | int], document: Any = None) -> list[type[Settings]]:
    """List the settings classes that a path below ``root`` may hold.

    Args:
        root: where the path begins.
        path: names of settings, names of arms (``train``, ``loss``, ``dpo``) and list indices.
        document: the values that stand there, if known: their ``kind`` then chooses the arm.

    Returns:
        the classes; empty where no settings object stands at the path.
    """
    here: list[type[Settings]] = [root]
    arms: dict[str, type[Settings]] = {}
    for step in path:
        document = _below(document, step)
        if step in arms:
            here, arms = [arms[str(step)]], {}
        elif not isinstance(step, int):
            fields = [cls.model_fields[step] for cls in here if step in cls.model_fields]
            arms = {kind: arm for field in fields for kind, arm in arms_of(field).items()}
            here = [cls for field in fields for cls in _classes(field)]
        kind = document.get("kind") if isinstance(document, Mapping) else document
        if isinstance(kind, str) and kind in arms:
            here = [arms[kind]]
    return here


def default_at(root: type[Settings], document: Any, path: Sequence[str | int]) -> dict[str, Any]:
    """Return the default settings at a path: the kind, and every value that differs from the defaults of its class.

    Args:
        root: where the path begins.
        document: values of the document; a ``kind`` among them chooses the arm.
        path: names of settings and list indices, at least one.

    Returns:
        plain values; empty where the default is no settings, or differs between the arms that are possible.
    """
    name = str(path[-1])
    defaults: list[dict[str, Any]] = []
    for cls in classes_at(root, path[:-1], document):
        if (field := cls.model_fields.get(name)) is None:
            continue
        default = field.get_default(call_default_factory=True, validated_data={})
        if not isinstance(default, Settings):
            defaults.append({})
            continue
        kind = {"kind": kind_of(default)} if arms_of(field) else {}
        defaults.append({**kind, **default.model_dump(mode="json", exclude_unset=True)})
    return defaults[0] if defaults and all(each == defaults[0] for each in defaults) else {}


def _below(document: Any, step: str | int) -> Any:
    if isinstance(document, Mapping):
        return document.get(step)
    if isinstance(document, list) and isinstance(step, int) and step < len(document):
        return document[step]
    return None


def _default_text(value: Any) -> str:
    if isinstance(value, Settings):
        return kind_of(value) if hasattr(value, "kind") else "see below"
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _choices_within(annotation: Any) -> Iterator[choice]:
    if get_origin(annotation) is Annotated:
        yield from (mark for mark in get_args(annotation)[1:] if isinstance(mark, choice))
    for part in get_args(annotation):
        yield from _choices_within(part)


def _classes(field: FieldInfo) -> list[type[Settings]]:
    arms = list(arms_of(field).values())
    return arms or list(dict.fromkeys(_classes_within(field.annotation)))


def _classes_within(annotation: Any) -> Iterator[type[Settings]]:
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        yield annotation
    for part in get_args(annotation):
        yield from _classes_within(part)


def _type_text(annotation: Any, is_choice: bool = False) -> str:
    """Describe a type for readers of recipes."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type_text(arguments[0], any(isinstance(mark, choice) for mark in arguments[1:]))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(_type_text(part, is_choice) for part in arguments))
    if origin is Literal:
        return " or ".join(str(part) for part in arguments)
    if annotation is type(None):
        return "null"
    if is_choice:
        return "kind"
    if origin in (list, tuple, set, frozenset):
        parts = dict.fromkeys(_type_text(part) for part in arguments if part is not Ellipsis)
        return f"list of {' or '.join(parts)}" if parts else "list"
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        return f"mapping of {_type_text(arguments[0])} to {_type_text(arguments[1])}"
    names = {str: "text", int: "integer", float: "number", bool: "true or false", Any: "any value"}
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return "settings"
    return names.get(annotation, getattr(annotation, "__name__", str(annotation)).lower())
