"""Who is evaluated on what, by whom, at what cost; and what the contestants are called."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

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

__all__ = ["Answering", "Evaluate", "list_contestants", "name_of_model"]


class Answering(Settings):
    """How models complete a benchmark's prompts, where not as the benchmark says."""

    temperature: float | None = Field(None, ge=0.0, description="None: the benchmark's own, mostly 0.")
    top_p: float | None = Field(None, gt=0.0, le=1.0, description="None: the benchmark's own, mostly 1.")
    max_tokens: int | None = Field(None, ge=1, description="None: the benchmark's own, mostly 2048.")
    seed: int | None = Field(None, description="None: the benchmark's own, mostly 0; another one draws others.")

    def over(self, own: Sampling) -> Sampling:
        """A benchmark's sampling with what is set here in its place."""
        return own.model_copy(update=self.model_dump(exclude_none=True))


class Evaluate(Spending):
    """Models, goals, benchmarks and a judge."""

    models: tuple[Annotated[EngineSettings, choice(ENGINES)], ...] = Field((), description="The models, as engines.")
    files: tuple[Path, ...] = Field((), description="Files of completions (instruction, output), each a model's.")
    goals: tuple[float | None, ...] = Field(
        (), description="Scores each model is asked for, one after another; null says nothing; none: the same."
    )
    benchmarks: tuple[Annotated[BenchmarkSettings, choice(BENCHMARKS)], ...] = Field(
        min_length=1, description="What they are measured on."
    )
    judge: Annotated[EngineSettings, choice(ENGINES)] | None = Field(
        None, description="The model that judges; benchmarks that are measured need none."
    )
    answering: Answering = Field(Answering(), description="How completions are drawn, where not as a benchmark says.")
    condition: SayGoal = Field(
        SayGoal(), description="How a goal is said to a model whose chat template does not say it by itself."
    )
    assets: Assets = Field(Assets(), description="Where published prompts, baselines and references are.")
    limit: int | None = Field(None, ge=1, description="Take a benchmark's first prompts only.")
    allow_missing: bool = Field(False, description="Give headline figures although more than 1 % is missing.")

    @field_validator("goals")
    @classmethod
    def _different(cls, goals: tuple[float | None, ...]) -> tuple[float | None, ...]:
        if len(set(goals)) < len(goals):
            raise ValueError(f"a goal stands twice in {list(goals)}")
        if any(goal is not None and not math.isfinite(goal) for goal in goals):
            raise ValueError("goals are finite numbers")
        return goals

    @field_validator("benchmarks")
    @classmethod
    def _each_once(cls, benchmarks: tuple[Any, ...]) -> tuple[Any, ...]:
        twice = [kind for kind, count in Counter(one.kind for one in benchmarks).items() if count > 1]
        if twice:
            raise ValueError(f"{twice[0]} stands twice; run it into two folders")
        return benchmarks

    @property
    def file_names(self) -> dict[str, Path]:
        """What completions out of files are called: the file's name without its ending."""
        return {file.stem: file for file in self.files}


def list_contestants(settings: Evaluate) -> list[Contestant]:
    """Every model for every goal, goals of one model together.

    Raises:
        SettingsError: nobody is named, or two have one name.
    """
    names = _shorten_names([model_name(model) for model in settings.models])
    goals: Sequence[float | None] = settings.goals or (None,)
    found = [
        Contestant(_name_with_goal(name, goal, settings.condition), model, goal, settings.condition)
        for name, model in zip(names, settings.models, strict=True)
        for goal in goals
    ]
    every = [*(one.name for one in found), *(file.stem for file in settings.files)]
    twice = [name for name, count in Counter(every).items() if count > 1]
    if twice:
        raise SettingsError(
            f"two models or files have one name: {', '.join(twice)}", remedy="name each file after its model, once"
        )
    if not every:
        raise SettingsError("there is nothing to evaluate", remedy="give a model, or a file of completions")
    return found


def name_of_model(model: str) -> str:
    """The last part of a folder, hub id or file.

    >>> name_of_model("HuggingFaceTB/SmolLM2-135M-Instruct"), name_of_model("runs/mine/model/")
    ('SmolLM2-135M-Instruct', 'model')
    """
    last = model.rstrip("/").rpartition("/")[2].rpartition(":")[2]
    return last.removesuffix(".jsonl").removesuffix(".gguf") or model


def _shorten_names(models: Sequence[str]) -> list[str]:
    """Short names; where two models share one, whole names."""
    short = [name_of_model(model) for model in models]
    return [model.rstrip("/") if short.count(name) > 1 else name for model, name in zip(models, short, strict=True)]


def _name_with_goal(name: str, goal: float | None, say: SayGoal) -> str:
    return name if goal is None else f"{name}@{format_number(goal, say.digits)}"
