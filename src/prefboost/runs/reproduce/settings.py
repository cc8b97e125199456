"""Settings of `reproduce`: the arms that are compared, what is searched, and what the verdict is taken by."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator, model_validator

from prefboost.engines.engine import Sampling
from prefboost.recipes.recipe import Recipe
from prefboost.runs.reproduce.arms import ARMS
from prefboost.scoring.scorer import SCORERS, Scorer
from prefboost.scoring.sequence_logps import LogprobModel
from prefboost.settings import Settings, choice

__all__ = ["Reproduction"]


class Reproduction(Settings):
    """Settings of `reproduce reward_augmented` (arXiv 2410.08067): one recipe, trained in many ways."""

    recipe: Recipe = Field(description="Data, pairs, reward-augmented relabelling and training; arms change one part.")
    arms: tuple[str, ...] = Field(
        tuple(ARMS), min_length=1, description=f"What is compared with the start model: {', '.join(ARMS)}."
    )
    seeds: tuple[int, ...] = Field((1, 2, 3, 4, 5), min_length=1, description="Seeds of training; 5 or more.")
    betas: tuple[float, ...] = Field((0.03, 0.1, 0.3), description="Searched for every arm whose loss has a beta.")
    learning_rates: tuple[float, ...] = Field(
        (), description="Searched for every arm; none: the recipe's learning rate alone."
    )
    published_beta: float = Field(0.01, gt=0, description="Also measured, with every seed (arXiv 2410.08067: 0.01).")
    steps: int | None = Field(
        None, ge=1, description="Optimiser steps of all arms but dpo_one_pass; none: one pass of the goal pairs."
    )
    validation: float = Field(0.15, gt=0, lt=1, description="Share of the prompts by which settings are chosen.")
    test: float = Field(0.15, gt=0, lt=1, description="Share of the prompts that give the verdict.")
    most_prompts: int = Field(200, ge=2, description="Most prompts that are measured, of validation and test each.")
    scorer: Annotated[Scorer, choice(SCORERS)] | None = Field(
        None,
        description="Gives the verdict on new completions, and trained no arm; none: only measures on the held-out "
        "completions of the file, which need no judge.",
    )
    sampling: Sampling = Field(Sampling(max_tokens=256), description="Sampling of completions.")
    samples: int = Field(1, ge=1, description="Completions per prompt.")
    good: float = Field(0.75, gt=0, lt=1, description="Completions with scores above this quantile are the good ones.")
    batch_tokens: int = Field(8192, ge=1, description="Most tokens of a batch of log-probs.")
    keep_models: bool = Field(False, description="Keep the weights of every cell; else they go once they are measured.")

    @property
    def start_model(self) -> LogprobModel:
        """The model that all trainings begin with, and how log-probs are computed."""
        train = self.recipe.train
        return LogprobModel(
            train.model,
            train.revision,
            batch_tokens=self.batch_tokens,
            trust_remote_code=train.trust_remote_code,
        )

    @field_validator("arms")
    @classmethod
    def _arms_exist(cls, arms: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [arm for arm in arms if arm not in ARMS]
        if unknown or len(set(arms)) < len(arms):
            raise ValueError(f"arms are some of {', '.join(ARMS)}, each once; found {', '.join(arms)}")
        return arms

    @model_validator(mode="after")
    def _agrees(self) -> Reproduction:
        if self.validation + self.test >= 1:
            raise ValueError("validation and test leave no prompts to train on")
        for name in ("seeds", "betas", "learning_rates"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"a value stands twice in {name}: {values}")
        return self
