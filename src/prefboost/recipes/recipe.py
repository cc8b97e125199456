"""The recipe: one tree of the settings objects that the functions take, stage by stage."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Annotated, Any

from pydantic import Field, field_validator

from prefboost.recipes.preparation import Preparation
from prefboost.settings import Settings, choice
from prefboost.sources import SOURCES, Source
from prefboost.training import Train

__all__ = ["Recipe"]


class _Begins(Settings):
    """What stands at the top of a recipe: pydantic puts the fields of the last base first."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$", description="What the run is called; also the name of its folder."
    )
    data: Annotated[Source, choice(SOURCES)] = Field(
        description="Where scored data come from: a source, or the path of a file."
    )


class Recipe(Preparation, _Begins):
    """Everything that defines a run: data, pairs, relabelling, how the goal is said, and training."""

    train: Train = Field(description="How the policy is trained.")

    @field_validator("data", mode="before")
    @classmethod
    def _path_is_a_file(cls, data: Any) -> Any:
        """``data: scored.jsonl`` is short for a file source; so is the same with settings of a file added to it."""
        kind = data.get("kind") if isinstance(data, Mapping) else data
        if isinstance(kind, str) and kind not in SOURCES and ":" not in kind and _looks_like_a_path(kind):
            more = data if isinstance(data, Mapping) else {}
            return {**more, "kind": "file", "path": kind}
        return data


def _looks_like_a_path(text: str) -> bool:
    return "/" in text or bool(PurePath(text).suffix)
