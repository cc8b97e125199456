"""The base of every settings object, and open unions chosen by ``kind``."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from prefboost.errors import suggest_name

__all__ = ["Settings", "choice", "dump_with_kind", "kind_of", "load_class"]


class Settings(BaseModel):
    """A frozen settings object: unknown keys are errors, every field has one sentence of description.

    The same object is the argument of a function and a node of a recipe, so that a recipe's dump loads to itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


def load_class(reference: str) -> type[Any]:
    """Import ``package.module:Class``.

    Raises:
        ValueError: the module or the class does not exist.
    """
    module_name, _, class_name = reference.partition(":")
    try:
        loaded: type[Any] = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"cannot load {reference!r}: {error}; write kind: package.module:Class") from error
    return loaded


def kind_of(settings: object) -> str:
    """Return the name of a settings object in recipes: its ``kind``, or ``module:Class`` for foreign ones."""
    return str(getattr(settings, "kind", f"{type(settings).__module__}:{type(settings).__qualname__}"))


def dump_with_kind(settings: object) -> dict[str, Any]:
    """Return a settings object as a mapping with its kind; of an object that is none, the kind alone."""
    return {"kind": kind_of(settings), **(settings.model_dump() if isinstance(settings, BaseModel) else {})}


class choice:  # noqa: N801 - reads as a verb where it stands: Annotated[PairStrategy, choice(PAIR_STRATEGIES)]
    """Makes a field an open union chosen by ``kind``: ``field: Annotated[Base, choice(ARMS)]``.

    The field accepts ``"name"``, ``{"kind": "name", ...}``, ``{"kind": "package.module:Class", ...}`` (anyone's class)
    or an object, and dumps to a mapping with its ``kind``, so that dumps load to themselves.

    Args:
        arms: the written-out dict of built-ins, kind -> settings class; each class has ``kind: Literal[name]``.
        others: regular expression of other kinds, for the JSON schema: a class, and where the field also takes them,
            paths.
    """

    def __init__(self, arms: Mapping[str, type[Settings]], others: str = ":") -> None:
        self.arms = arms
        self.others = others

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        tagged = core_schema.tagged_union_schema(
            {kind: handler.generate_schema(arm) for kind, arm in self.arms.items()}, discriminator="kind"
        )
        return core_schema.no_info_wrap_validator_function(
            self._validate,
            tagged,
            serialization=core_schema.plain_serializer_function_ser_schema(_dump),
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        built_in = {**handler(schema.get("schema", schema)), "required": ["kind"]}
        other = {"type": "string", "pattern": self.others}
        foreign = {"type": "object", "required": ["kind"], "properties": {"kind": other}}
        return {"anyOf": [{"enum": sorted(self.arms)}, built_in, other, foreign]}

    def _validate(self, value: Any, inner: core_schema.ValidatorFunctionWrapHandler) -> Any:
        if isinstance(value, str):
            value = {"kind": value}
        if isinstance(value, BaseModel):
            return value
        if not isinstance(value, Mapping):
            raise PydanticCustomError(
                "no_choice", "write a kind or a mapping with a kind, found {found}", {"found": repr(value)[:80]}
            )
        kind = value.get("kind")
        if isinstance(kind, str) and ":" in kind:
            return load_class(kind)(**{key: item for key, item in value.items() if key != "kind"})
        if kind not in self.arms:
            hint = suggest_name(kind, self.arms)
            kinds = ", ".join(self.arms)
            fault = "its kind is missing" if "kind" not in value else f"{kind!r} is not a kind here"
            raise PydanticCustomError(
                "unknown_kind",
                "{fault}{hint} (one of: {kinds}; or package.module:Class)",
                {"fault": fault, "hint": hint, "kinds": kinds},
            )
        return inner(value)


def _dump(value: Any) -> Any:
    return dump_with_kind(value) if isinstance(value, BaseModel) else value
