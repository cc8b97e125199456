"""The recipe: one tree of the settings objects that the functions take, stage by stage."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Annotated, Any

from pydantic import ConfigDict, Field, field_validator

from prefboost.addresses import find_address
from prefboost.recipes.executors import EXECUTORS, AnyExecutor, OnRay, OnThisMachine
from prefboost.recipes.preparation import Preparation
from prefboost.settings import Settings, choice
from prefboost.sources import SOURCES, Source
from prefboost.training import Train

__all__ = ["AnySource", "FromData", "Named", "OnExecutor", "Recipe", "path_as_file"]

AnySource = Annotated[Source, choice(SOURCES, others="[:/.]")]
"""A source by its kind, or the path of a file (`path_as_file`)."""


class Named(Settings):
    """First fields of every recipe: pydantic puts the fields of the last base first."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$", description="Name of the run and of its folder.")


class FromData(Named):
    """A recipe whose data are there before it begins."""

    data: AnySource = Field(description="Source of the data: its settings, or a file.")

    @field_validator("data", mode="before")
    @classmethod
    def _path_is_a_file(cls, data: Any) -> Any:
        return path_as_file(data)


class OnExecutor(Settings):
    """A recipe whose work may go to a cluster."""

    executor: AnyExecutor = Field(
        OnThisMachine(),
        description="Who prepares data, completes and scores: this machine, or the nodes of a Ray cluster; training "
        "stays here.",
    )

    @field_validator("executor")
    @classmethod
    def _executor_is_ours(cls, executor: Any) -> Any:
        if not isinstance(executor, OnThisMachine | OnRay):
            raise ValueError(f"no other executor can be plugged in; one of: {', '.join(EXECUTORS)}")
        return executor


class Recipe(OnExecutor, Preparation, FromData):
    """Everything that defines a run: data, pairs, relabelling, how the goal is said, and training."""

    # Its kind may be written, and is no setting: `prefboost.recipes.load.of_kind` takes it off.
    model_config = ConfigDict(json_schema_extra=lambda schema: schema["properties"].update(kind={"const": "offline"}))

    train: Train = Field(description="Training of the policy.")


def path_as_file(source: Any) -> Any:
    """Expand ``data: scored.jsonl`` or an address, also with settings of a file added to it, to a file source."""
    kind = source.get("kind") if isinstance(source, Mapping) else source
    if isinstance(kind, str) and kind not in SOURCES and _looks_like_a_path(kind):
        settings = source if isinstance(source, Mapping) else {}
        return {**settings, "kind": "file", "path": kind}
    return source


def _looks_like_a_path(text: str) -> bool:
    # Other texts with a colon name a class.
    if ":" in text:
        return find_address(text) is not None
    return "/" in text or bool(PurePath(text).suffix)
