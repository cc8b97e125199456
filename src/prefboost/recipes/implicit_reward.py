"""The recipe of implicit-reward augmentation: goals for data that have no scores (arXiv 2410.08067)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from prefboost.losses.weighted_sum import find_betas
from prefboost.preferences import SCALES, Plain, Scale
from prefboost.preferences.scales.kinds import Percentile
from prefboost.recipes.preparation import Preparation
from prefboost.recipes.recipe import FromData, OnExecutor
from prefboost.scoring.implicit import LogRatio
from prefboost.settings import choice
from prefboost.training import Train

__all__ = ["ImplicitRewards", "ImplicitScores"]


class ImplicitScores(LogRatio):
    """Scoring of completions by the policy that was trained first: beta * (log pi - log pi_ref)."""


class _Begins(FromData):
    kind: Literal["implicit_reward"] = Field(
        "implicit_reward", description="Train on binary pairs, score them by what was learned, train on goals."
    )


class ImplicitRewards(OnExecutor, Preparation, _Begins):
    """Implicit-reward augmentation: train, score the same pairs, relabel, train again from the start model."""

    first: Train | None = Field(
        None, description="Training of the policy that gives the scores, on the pairs as they are; none: as train."
    )
    score: ImplicitScores = Field(ImplicitScores(), description="Scoring of the pairs with it.")
    scale: Annotated[Scale, choice(SCALES)] | None = Field(
        Percentile(), description="Scale from implicit rewards to goals; the published one is not known."
    )
    train: Train = Field(description="Training of the policy on goals, from the start model.")

    @model_validator(mode="after")
    def _agrees(self) -> ImplicitRewards:
        first = self.first or self.train
        if not find_betas(first.loss):
            raise ValueError(
                "the first training needs a loss with a beta, whose log-ratio is a reward; e.g. first.loss: dpo"
            )
        if isinstance(self.relabel, Plain):
            raise ValueError("relabel: plain uses no scores, so there is nothing to score for; see kind: offline")
        if self.keep is not None:
            raise ValueError("keep selects among completions with scores; these are pairs that get theirs later")
        return self

    @property
    def training_first(self) -> Train:
        """The first training's settings."""
        return self.first or self.train

    @property
    def beta(self) -> float:
        """That of the first training's loss; of a sum, of its first term that has one."""
        return find_betas(self.training_first.loss)[0]
