"""The recipe of on-policy rounds: the policy's own completions, scored, are what it is trained on next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from prefboost.engines.budget import Budget, Price, Spending
from prefboost.engines.engine import Sampling
from prefboost.engines.kinds import ENGINES, EngineSettings
from prefboost.preferences import PAIR_STRATEGIES, BestVsWorst, PairStrategy, Plain
from prefboost.recipes.preparation import Preparation
from prefboost.recipes.recipe import AnySource, Named, OnExecutor, path_as_file
from prefboost.scoring.scorer import SCORERS, Scorer
from prefboost.settings import Settings, choice
from prefboost.statistics import Bootstrap
from prefboost.training import Train

__all__ = ["POLICY", "OnPolicy", "RoundCompletions", "RoundEvaluation"]

Engine = Annotated[EngineSettings, choice(ENGINES)]

POLICY = "policy"
"""Placeholder for the model of the round where an engine needs a name."""


def engine_of_policy(engine: Any) -> Any:
    """Add the policy of the round to ``engine: vllm`` without a model."""
    settings = {"kind": engine} if isinstance(engine, str) else engine
    if not isinstance(settings, Mapping) or settings.get("kind") not in ENGINES:
        return engine
    needs_model = "model" in ENGINES[settings["kind"]].model_fields
    return {"model": POLICY, **settings} if needs_model else settings


def _allow_no_model(schema: dict[str, Any]) -> None:
    """Let the JSON schema take an engine without its model (`engine_of_policy`)."""
    schema["anyOf"].append({"type": "object", "required": ["kind"], "not": {"required": ["model"]}})


class RoundCompletions(Settings):
    """Sampling of the training prompts by the policy of a round."""

    engine: Engine | None = Field(
        None,
        description="Engine of the completions; its model is the policy of the round. None is the local engine.",
        json_schema_extra=_allow_no_model,
    )
    n: int = Field(5, ge=2, description="Completions a prompt (SimPO v0.2's on-policy data: 5).")
    sampling: Sampling = Field(
        Sampling(temperature=0.8, top_p=0.95, max_tokens=1024),
        description="Sampling (SimPO v0.2: temperature 0.8, top-p 0.95).",
    )
    goal: Literal["plain", "top", "mixture"] = Field(
        "plain",
        description="Asked for while sampling: plain says nothing, top asks for the highest score, mixture does both.",
    )
    top_share: float = Field(0.5, gt=0, lt=1, description="Share of a prompt's completions that mixture asks top for.")

    @field_validator("engine", mode="before")
    @classmethod
    def _model_is_the_policy(cls, engine: Any) -> Any:
        return engine_of_policy(engine)

    @model_validator(mode="after")
    def _check_mixture(self) -> RoundCompletions:
        if self.goal == "mixture" and not 0 < self.counts["top"] < self.n:
            raise ValueError(f"top_share {self.top_share:g} of n {self.n} leaves nothing to one of the two; change one")
        return self

    @property
    def counts(self) -> dict[str, int]:
        """Completions a prompt by what is asked for: plain, top."""
        top = {"plain": 0, "top": self.n, "mixture": round(self.n * self.top_share)}[self.goal]
        return {"plain": self.n - top, "top": top}


class RoundEvaluation(Settings):
    """Measurement of a policy after a round: held-out prompts, with the highest score as the goal."""

    n: int = Field(1, ge=1, description="Completions a held-out prompt.")
    sampling: Sampling = Field(Sampling(max_tokens=1024), description="Sampling of tokens.")
    engine: Engine | None = Field(
        None, description="As in generate; none takes that one.", json_schema_extra=_allow_no_model
    )
    share: float = Field(
        0.1, gt=0, lt=1, description="Share of the prompts that is held out where none is marked by a column split."
    )
    goal: float | None = Field(None, description="The score asked for; none is the highest of the scale.")
    start: bool = Field(True, description="Measure the start model too, asked in the same words.")
    bootstrap: Bootstrap = Field(Bootstrap(), description="Bootstrap of the intervals, clustered by prompt.")

    @field_validator("engine", mode="before")
    @classmethod
    def _model_is_the_policy(cls, engine: Any) -> Any:
        return engine_of_policy(engine)


class _Prompts(Named):
    """Beginning of an on-policy recipe, after its name."""

    kind: Literal["on_policy"] = Field("on_policy", description="Rounds of generating, scoring, pairing and training.")
    prompts: AnySource = Field(
        description="Source of the prompts: its settings, or a file (.txt: one a line); of data with completions the "
        "prompts alone count. Rows whose split is validation or test are held out."
    )
    rounds: int = Field(1, ge=1, le=100, description="Number of rounds of completing, scoring and training.")
    prompts_a_round: Literal["all", "parts"] = Field(
        "all", description="all: every round completes all prompts; parts: each round completes a part of its own."
    )
    generate: RoundCompletions = Field(RoundCompletions(), description="Completion of the prompts by the policy.")
    scorer: Annotated[Scorer, choice(SCORERS)] = Field(description="Scorer of the completions.")
    budget: Budget = Field(Budget(), description="Limits of spending of a scorer that asks a model, over all rounds.")
    prices: dict[str, Price] = Field({}, description="Price table: the model's name to dollars a million tokens.")

    @field_validator("prompts", mode="before")
    @classmethod
    def _path_is_a_file(cls, prompts: Any) -> Any:
        return path_as_file(prompts)


class OnPolicy(OnExecutor, Preparation, _Prompts):
    """On-policy rounds: the policy completes prompts, a scorer scores them, and the policy is trained on the pairs."""

    pair: Annotated[PairStrategy, choice(PAIR_STRATEGIES)] = Field(
        BestVsWorst(), description="Pairs to make of a prompt's completions (SimPO v0.2: highest against lowest)."
    )
    scale_of: Literal["first", "each"] = Field(
        "first",
        description="The scale is fitted to the scores of the first round and kept, so that a goal means the same in "
        "all rounds; or to those of each round.",
    )
    train: Train = Field(description="Training of the policy; its model is the start model.")
    begin: Literal["last", "start"] = Field(
        "last", description="Start of a round's training: the last round's policy, or the start model."
    )
    reference: Literal["start", "last"] = Field(
        "start", description="Reference model of the loss: the start model, or the policy that wrote the completions."
    )
    evaluate: RoundEvaluation | None = Field(
        RoundEvaluation(), description="Measurement of each round; none measures nothing and holds nothing out."
    )
    seed: int = Field(42, ge=0, description="Seed of the draw of held-out prompts and of the parts.")

    @property
    def spending(self) -> Spending:
        """What the scorer may spend, and what tokens cost."""
        return Spending(budget=self.budget, prices=self.prices)

    @model_validator(mode="after")
    def _agrees(self) -> OnPolicy:
        if getattr(self.scorer, "scale", None) is not None:
            raise ValueError(
                "the scorer's own scale would be fitted to every table anew; set the recipe's scale, which is kept"
            )
        if isinstance(self.relabel, Plain) and self.generate.goal != "plain":
            raise ValueError("relabel: plain trains without goals, so generate.goal must be plain")
        if self.train.reference not in ("start", "none"):
            raise ValueError("train.reference is set by the rounds; write reference: start or last at the top instead")
        if self.rounds > 1 and self.train.lora is not None and not self.train.lora.merge:
            raise ValueError("an adapter alone cannot begin another round; leave train.lora.merge at true")
        self._check_hand_over()
        if self.rounds > 1 and self.train.revision is not None and "start" in (self.reference, self.begin):
            raise ValueError(
                "later rounds compare with the start model by its name alone; download train.revision and name the "
                "folder as train.model"
            )
        return self

    def _check_hand_over(self) -> None:
        """See that adapters, where servers are given any, fit the model that the servers have."""
        engines = (self.generate.engine, None if self.evaluate is None else self.evaluate.engine)
        if all(getattr(engine, "hand_over", None) != "lora" for engine in engines):
            return
        if self.train.lora is None:
            raise ValueError(
                "engine.hand_over: lora hands adapters over, and none is trained: set train.lora, or reload"
            )
        if self.rounds > 1 and self.begin == "last":
            raise ValueError(
                "engine.hand_over: lora with begin: last: a later round's adapter fits the last round's weights, which "
                "the servers lack; write begin: start, or hand_over: reload"
            )
