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
from prefboost.preferences.score_selection import SELECT_STRATEGIES, SelectStrategy
from prefboost.preferences.select import Select
from prefboost.settings import Settings, choice

__all__ = ["Preparation"]


class Preparation(Settings):
    """The stages between reading and writing or training, in the order in which they are done."""

    select: Select | None = Field(Select(), description="Limits that rows pass before they are paired; none keeps all.")
    decontaminate: tuple[str, ...] = Field(
        (),
        description="Benchmark files: rows whose prompt shares select.ngram words in a row with one of theirs are left "
        "out.",
    )
    scale: Annotated[Scale, choice(SCALES)] | None = Field(
        DeclaredRange(), description="Map of scores to the scale of goals; none keeps any score."
    )
    keep: Annotated[SelectStrategy, choice(SELECT_STRATEGIES)] | None = Field(
        None,
        description="Choice of completions by their scores, before they are paired (best of n, a "
        "threshold, rejection sampling); none keeps them all.",
    )
    pair: Annotated[PairStrategy, choice(PAIR_STRATEGIES)] = Field(
        BestVsRandom(),
        description="Pairs to make of a prompt's completions (arXiv 2410.08067: best against random).",
    )
    relabel: Annotated[Relabelling, choice(RELABELLINGS)] = Field(
        RewardAugmented(), description="Labels under goals (arXiv 2410.08067, section 3)."
    )
    condition: SayGoal = Field(SayGoal(), description="Wording of the goal, and its place in the prompt.")
