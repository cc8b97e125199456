"""Settings of `reproduce`: the arms that are compared, what is searched, and what the verdict is taken by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from prefboost.engines.engine import Sampling
from prefboost.evaluation.academic.benchmark import AcademicSet
from prefboost.evaluation.assets import Assets
from prefboost.preferences import DeclaredRange
from prefboost.recipes.executors import OnThisMachine
from prefboost.recipes.recipe import Recipe
from prefboost.runs.reproduce.arms import ARMS, list_compared_arms
from prefboost.runs.reproduce.noise import ScoreNoise
from prefboost.runs.reproduce.own_samples import OwnSamples
from prefboost.scoring.scorer import SCORERS, Scorer
from prefboost.scoring.sequence_logps import LogprobModel
from prefboost.settings import Settings, choice

__all__ = ["Reproduction"]


class Reproduction(Settings):
    """Settings of `reproduce reward_augmented` (arXiv 2410.08067): one recipe, trained in many ways."""

    recipe: Recipe = Field(description="Data, pairs, reward-augmented relabelling and training; arms change one part.")
    arms: tuple[str, ...] = Field(
        list_compared_arms(),
        min_length=1,
        description="What is compared with the start model; not set: all arms, those of aspects and on_policy where "
        f"these are given. Arms: {', '.join(ARMS)}.",
    )
    on_policy: OwnSamples | None = Field(
        None, description="Rounds of the arms on_policy_dpo and on_policy_ra; none: there are no such arms."
    )
    noise: ScoreNoise | None = Field(
        None,
        description="Errors of the judge whose scores all training sees, of the file and of own samples; verdicts see "
        "none of them. None: training sees the true scores.",
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
    academic: AcademicSet | None = Field(
        None, description="Academic tasks that every cell answers on its way, e.g. academic.limit=50; none: no tasks."
    )
    assets: Assets | None = Field(
        None, description="Where the data of academic tasks are, and whether they may be fetched; none: not fetched."
    )
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

    @property
    def aspects(self) -> tuple[str, ...]:
        """Aspects that the goals of the arm aspects_ra are made of."""
        return tuple(getattr(self.recipe.relabel, "aspects", ()))

    @property
    def training_noise(self) -> ScoreNoise | None:
        """The noise of scores that are trained on, between the ends that the recipe's scale declares, if it does."""
        scale = self.recipe.scale
        if self.noise is None or self.noise.ends is not None or not isinstance(scale, DeclaredRange):
            return self.noise
        declared = None if scale.low is None or scale.high is None else (scale.low, scale.high)
        return self.noise.model_copy(update={"ends": declared})

    @model_validator(mode="before")
    @classmethod
    def _options_bring_their_arms(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or "arms" in values:
            return values
        recipe: Any = values.get("recipe")
        for name in ("relabel", "aspects"):
            recipe = recipe.get(name) if isinstance(recipe, Mapping) else getattr(recipe, name, None)
        options = [*(["on_policy"] if values.get("on_policy") is not None else []), *(["aspects"] if recipe else [])]
        return {**values, "arms": list_compared_arms(*options)}

    @field_validator("arms")
    @classmethod
    def _arms_exist(cls, arms: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [arm for arm in arms if arm not in ARMS]
        if unknown or len(set(arms)) < len(arms):
            raise ValueError(f"arms are some of {', '.join(ARMS)}, each once; found {', '.join(arms)}")
        return arms

    @model_validator(mode="after")
    def _agrees(self) -> Reproduction:
        if not isinstance(self.recipe.executor, OnThisMachine):
            raise ValueError(
                "reproduce holds prompts out of all data, which it reads on this machine; write executor: local"
            )
        if self.validation + self.test >= 1:
            raise ValueError("validation and test leave no prompts to train on")
        for name in ("seeds", "betas", "learning_rates"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"a value stands twice in {name}: {values}")
        for option, is_set in (("on_policy", self.on_policy is not None), ("aspects", bool(self.aspects))):
            arms = [name for name in self.arms if ARMS[name].needs == option]
            write = "on_policy.rounds=1" if option == "on_policy" else "relabel.aspects=[NAME, ...]"
            if arms and not is_set:
                raise ValueError(f"{', '.join(arms)} need what they are trained on; write {write}, or leave them out")
            if is_set and not arms:
                names = [name for name, arm in ARMS.items() if arm.needs == option]
                raise ValueError(f"no arm uses {write.partition('=')[0]}; add {' or '.join(names)} to arms")
        samples = self.on_policy
        if samples is not None and samples.scorer is None and self.scorer is None:
            raise ValueError(
                "nothing scores the policy's own samples; write scorer.kind=..., or on_policy.scorer.kind=..."
            )
        if samples is not None and self.steps is not None and self.steps % samples.rounds:
            raise ValueError(f"{self.steps} steps are no whole number for each of {samples.rounds} rounds; change one")
        if min((*self.betas, *self.learning_rates), default=1.0) <= 0:
            raise ValueError("betas and learning_rates are above 0")
        return self
