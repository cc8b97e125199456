"""The settings of `generate`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from prefboost.chat import SayGoal
from prefboost.engines.budget import Spending
from prefboost.engines.engine import Sampling
from prefboost.engines.kinds import ENGINES, EngineSettings
from prefboost.settings import choice

__all__ = ["Generate"]


class Generate(Spending):
    """Settings of `generate`: engine, sampling, goals, budget."""

    engine: Annotated[EngineSettings, choice(ENGINES)] = Field(description="Engine that completes the prompts.")
    sampling: Sampling = Field(Sampling(), description="Sampling of tokens.")
    n: int = Field(1, ge=1, description="Completions a prompt and goal.")
    goals: tuple[float, ...] = Field((), description="Scores to ask for; none: the model's default, nothing is passed.")
    vectors: tuple[dict[str, float], ...] = Field(
        (),
        description="Goal vectors to ask for besides, each aspect -> score, e.g. vectors=[{style: 5, depth: 1}]; the "
        "name goal stands for the overall score.",
    )
    silent: bool = Field(
        False, description="Say nothing where no goal is asked for, not even by a template that asks for the top score."
    )
    condition: SayGoal = Field(
        SayGoal(), description="Wording of a goal for a model whose chat template does not say it by itself."
    )

    @field_validator("goals")
    @classmethod
    def _no_goal_twice(cls, goals: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(goals)) < len(goals):
            raise ValueError(f"a goal stands twice in {list(goals)}; ask for more completions with n")
        return goals

    @field_validator("vectors")
    @classmethod
    def _no_vector_twice(cls, vectors: tuple[dict[str, float], ...]) -> tuple[dict[str, float], ...]:
        if any(not vector.keys() - {"goal"} or vectors.count(vector) > 1 for vector in vectors):
            raise ValueError("every vector names an aspect, and stands once; overall scores alone are goals=[...]")
        return vectors

    @property
    def asked(self) -> list[tuple[float | None, dict[str, float]]]:
        """Every overall goal and goals of aspects that a prompt is completed for."""
        vectors = [(vector.get("goal"), {name: vector[name] for name in vector if name != "goal"})
                   for vector in self.vectors]  # fmt: skip
        single: list[tuple[float | None, dict[str, float]]] = [(goal, {}) for goal in self.goals]
        return [*single, *vectors] or [(None, {})]

    @property
    def model(self) -> str:
        """What the engine's settings call the model, or the recording."""
        return str(getattr(self.engine, "model", None) or getattr(self.engine, "path", None))
