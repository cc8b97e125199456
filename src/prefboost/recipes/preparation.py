"""Settings by which scored data become goal pairs; a recipe and `augment` share them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

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
from prefboost.preferences.accept import SELECT_STRATEGIES, SelectStrategy
from prefboost.preferences.select import Select
from prefboost.settings import Settings, choice

__all__ = ["Preparation"]


class Preparation(Settings):
    """The stages between reading and writing or training, in the order in which they are done."""

    select: Select | None = Field(
        Select(), description="Which rows are kept before they are paired; none keeps them all."
    )
    decontaminate: tuple[str, ...] = Field(
        (),
        description="Benchmark files: rows whose prompt shares select.ngram words in a row with one of theirs are left "
        "out.",
    )
    scale: Annotated[Scale, choice(SCALES)] | None = Field(
        DeclaredRange(), description="How scores come onto the scale that goals are said on; none keeps any score."
    )
    keep: Annotated[SelectStrategy, choice(SELECT_STRATEGIES)] | None = Field(
        None,
        description="Which completions of a prompt are kept by their scores before they are paired (best of n, a "
        "threshold, rejection sampling); none keeps them all.",
    )
    pair: Annotated[PairStrategy, choice(PAIR_STRATEGIES)] = Field(
        BestVsRandom(),
        description="Which completions of a prompt are compared (arXiv 2410.08067: best against random).",
    )
    relabel: Annotated[Relabelling, choice(RELABELLINGS)] = Field(
        RewardAugmented(), description="Who wins under which goal (arXiv 2410.08067, section 3)."
    )
    condition: SayGoal = Field(SayGoal(), description="How the goal is said, and where it stands in the prompt.")
