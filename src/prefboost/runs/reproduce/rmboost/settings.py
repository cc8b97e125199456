"""Settings of `reproduce rmboost`: data, engine, arms, and how reward models are trained alike."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from prefboost.engines.engine import Sampling
from prefboost.engines.kinds import ENGINES, EngineSettings
from prefboost.scoring.judges.judge import JUDGES, Judge
from prefboost.settings import Settings, choice
from prefboost.sources import Columns
from prefboost.synthesis.aspects import Aspects
from prefboost.training import TrainReward

__all__ = ["RewardReproduction"]


class RewardReproduction(Settings):
    """Settings of `reproduce rmboost` (arXiv 2407.16008): one engine, pairs made in many ways."""

    data: str = Field(
        description="Labelled pairs: a file, folder or hub id. Their prompts are split; the held-out labels judge."
    )
    columns: Columns = Field(Columns(), description="Columns of the file, where they are not guessed right.")
    generator: Annotated[EngineSettings, choice(ENGINES)] = Field(description="The model that writes completions.")
    judge: Annotated[Judge, choice(JUDGES)] | None = Field(
        None, description="Labels RLAIF's pairs; none: the generator, by the log-probs of its verdicts."
    )
    sampling: Sampling = Field(Sampling(temperature=0.7, max_tokens=256), description="Sampling of tokens.")
    aspects: Aspects = Field(Aspects(), description="The task, and the aspects that count in it.")
    arms: tuple[str, ...] = Field(
        (
            "rmboost",
            "rlaif",
            "rlcd",
            "west_of_n",
            "rmboost_one_aspect",
            "rmboost_no_aspects",
            "rmboost_judged",
            "labelled",
        ),
        min_length=1,
        description="Arms to compare with chance and with the longer completion.",
    )
    equal: Literal["calls", "pairs"] = Field(
        "calls",
        description="Quantity that all arms have alike: calls of the engine, judgements included; or prompts, and as "
        "many pairs as the arm with the fewest.",
    )
    calls: int | None = Field(
        None, ge=1, description="Calls of every arm; none: as many as rmboost needs for all training prompts."
    )
    data_seed: int = Field(0, description="Seed of draws of labels, aspects and phrases.")
    n: int = Field(4, ge=2, description="Completions per prompt of West-of-N.")
    margin_quantile: float = Field(0.5, ge=0, lt=1, description="Pairs of West-of-N below this quantile are rejected.")
    base_pairs: int = Field(
        100, ge=1, description="Labelled pairs of training prompts that West-of-N's base reward model is trained on."
    )
    train: TrainReward = Field(description="Training of every reward model.")
    learning_rates: tuple[float, ...] = Field(
        (), description="Searched for every arm, with the first seed; none: the training's learning rate alone."
    )
    steps: int | None = Field(
        None, ge=1, description="Optimiser steps of every reward model; none: one pass of the largest arm's pairs."
    )
    seeds: tuple[int, ...] = Field((1, 2, 3, 4, 5), min_length=1, description="Seeds of training; 5 or more.")
    validation: float = Field(0.15, gt=0, lt=1, description="Share of the prompts by which learning rates are chosen.")
    test: float = Field(0.3, gt=0, lt=1, description="Share of the prompts whose labels give the verdict.")
    most_prompts: int = Field(500, ge=2, description="Most prompts that are measured, of validation and test each.")
    keep_models: bool = Field(False, description="Keep the weights of every cell; else they go once they are measured.")

    @model_validator(mode="after")
    def _agrees(self) -> RewardReproduction:
        usual = type(self).model_fields["arms"].default
        unknown = [arm for arm in self.arms if arm not in usual]
        if unknown or len(set(self.arms)) < len(self.arms):
            raise ValueError(f"arms are some of {', '.join(usual)}, each once; found {', '.join(self.arms)}")
        if self.validation + self.test >= 1:
            raise ValueError("validation and test leave no prompts to write to")
        for name in ("seeds", "learning_rates"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"a value stands twice in {name}: {values}")
        if not self.train.loss.compares:
            raise ValueError(f"arms are pairs, and the loss {self.train.loss.kind} takes scores; use bradley_terry")
        return self
