"""Settings of `evaluate`, and the names of contestants."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from prefboost.chat import SayGoal, format_number
from prefboost.engines.budget import Spending
from prefboost.engines.engine import Sampling
from prefboost.engines.kinds import ENGINES, EngineSettings, model_name
from prefboost.errors import SettingsError
from prefboost.evaluation.assets import Assets
from prefboost.evaluation.kinds import BENCHMARKS, BenchmarkSettings
from prefboost.evaluation.protocols import Contestant
from prefboost.settings import Settings, choice

__all__ = ["Answering", "Evaluate", "list_contestants", "shorten_model_name"]


class Answering(Settings):
    """Sampling of completions, where it differs from the benchmark's."""

    temperature: float | None = Field(None, ge=0.0, description="None: the benchmark's own, mostly 0.")
    top_p: float | None = Field(None, gt=0.0, le=1.0, description="None: the benchmark's own, mostly 1.")
    max_tokens: int | None = Field(None, ge=1, description="None: the benchmark's own, mostly 2048.")
    seed: int | None = Field(None, description="None: the benchmark's own, mostly 0; another one draws others.")

    def over(self, sampling: Sampling) -> Sampling:
        """Return a benchmark's sampling with the settings here in its place."""
        return sampling.model_copy(update=self.model_dump(exclude_none=True))


class Evaluate(Spending):
    """Models, goals, benchmarks and a judge."""

    models: tuple[Annotated[EngineSettings, choice(ENGINES)], ...] = Field((), description="The models, as engines.")
    files: tuple[Path, ...] = Field((), description="Files of completions (instruction, output), each a model's.")
    goals: tuple[float | None, ...] = Field(
        (), description="Scores each model is asked for, one after another; null says nothing; none: the same."
    )
    benchmarks: tuple[Annotated[BenchmarkSettings, choice(BENCHMARKS)], ...] = Field(
        min_length=1, description="Benchmarks that they are measured on."
    )
    judge: Annotated[EngineSettings, choice(ENGINES)] | None = Field(
        None, description="The model that judges; benchmarks that are measured need none."
    )
    answering: Answering = Field(Answering(), description="Sampling of completions, where not the benchmark's.")
    condition: SayGoal = Field(
        SayGoal(), description="Wording of a goal for a model whose chat template does not say it by itself."
    )
    assets: Assets = Field(Assets(), description="Place of published prompts, baselines and references.")
    limit: int | None = Field(None, ge=1, description="Take a benchmark's first prompts only.")
    allow_missing: bool = Field(False, description="Show headline figures even if more than 1 % is missing.")
    exports: tuple[Literal["inspect", "judgearena"], ...] = Field(
        (), description="Files of other evaluators, written beside the results: logs of inspect, tables of JudgeArena."
    )

    @field_validator("goals")
    @classmethod
    def _check_goals(cls, goals: tuple[float | None, ...]) -> tuple[float | None, ...]:
        if len(set(goals)) < len(goals):
            raise ValueError(f"a goal stands twice in {list(goals)}")
        if any(goal is not None and not math.isfinite(goal) for goal in goals):
            raise ValueError("goals are finite numbers")
        return goals

    @field_validator("benchmarks")
    @classmethod
    def _check_benchmarks(cls, benchmarks: tuple[Any, ...]) -> tuple[Any, ...]:
        repeated = [kind for kind, count in Counter(benchmark.kind for benchmark in benchmarks).items() if count > 1]
        if repeated:
            raise ValueError(f"{repeated[0]} stands twice; run it into two folders")
        return benchmarks

    @property
    def file_names(self) -> dict[str, Path]:
        """Name of each file of completions: its file name without the ending."""
        return {file.stem: file for file in self.files}


def list_contestants(settings: Evaluate) -> list[Contestant]:
    """List every model with every goal, the goals of one model together.

    Raises:
        SettingsError: there is no model, or two have one name.
    """
    whole = [model_name(model) for model in settings.models]
    short = [shorten_model_name(name) for name in whole]
    # Where two models share a short name, whole names tell them apart.
    model_names = [w.rstrip("/") if short.count(s) > 1 else s for w, s in zip(whole, short, strict=True)]
    digits = settings.condition.digits
    goals: Sequence[float | None] = settings.goals or (None,)
    contestants = [
        Contestant(name if goal is None else f"{name}@{format_number(goal, digits)}", model, goal, settings.condition)
        for name, model in zip(model_names, settings.models, strict=True)
        for goal in goals
    ]
    names = [*(contestant.name for contestant in contestants), *(file.stem for file in settings.files)]
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise SettingsError(
            f"two models or files have one name: {', '.join(repeated)}", remedy="name each file after its model, once"
        )
    if not names:
        raise SettingsError("no model to evaluate is named", remedy="give a model, or a file of completions")
    return contestants


def shorten_model_name(model: str) -> str:
    """Return the last part of a folder, hub id or file.

    >>> shorten_model_name("HuggingFaceTB/SmolLM2-135M-Instruct"), shorten_model_name("runs/mine/model/")
    ('SmolLM2-135M-Instruct', 'model')
    """
    last = model.rstrip("/").rpartition("/")[2].rpartition(":")[2]
    return last.removesuffix(".jsonl").removesuffix(".gguf") or model
