"""The recipe: one tree of the settings objects that the functions take, stage by stage."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Annotated, Any

from pydantic import Field, field_validator

from prefboost.chat import SayGoal
from prefboost.preferences import (
    PAIR_STRATEGIES,
    RELABELLINGS,
    SCALES,
    BestVsRandom,
    DeclaredRange,
    PairStrategy,
    Relabelling,
    RewardAugmented,
    Scale,
)
from prefboost.preferences.select import Select
from prefboost.settings import Settings, choice
from prefboost.sources import SOURCES, Source
from prefboost.training import Train

__all__ = ["Recipe"]


class Recipe(Settings):
    """Everything that defines a run: data, pairs, relabelling, how the goal is said, and training."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$", description="What the run is called; also the name of its folder."
    )
    data: Annotated[Source, choice(SOURCES)] = Field(
        description="Where scored data come from: a source, or the path of a file."
    )
    select: Select = Field(Select(), description="Which rows are kept before they are paired.")
    decontaminate: tuple[str, ...] = Field(
        (),
        description="Files whose prompts may not be trained on; rows that share select.ngram words go.",
    )
    pair: Annotated[PairStrategy, choice(PAIR_STRATEGIES)] = Field(
        BestVsRandom(),
        description="Which completions of a prompt are compared (arXiv 2410.08067: best against random).",
    )
    scale: Annotated[Scale, choice(SCALES)] | None = Field(
        DeclaredRange(), description="How scores come onto the scale that goals are said on; none keeps any score."
    )
    relabel: Annotated[Relabelling, choice(RELABELLINGS)] = Field(
        RewardAugmented(), description="Who wins under which goal (arXiv 2410.08067)."
    )
    condition: SayGoal = Field(SayGoal(), description="How the goal is said, and where it stands in the prompt.")
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
