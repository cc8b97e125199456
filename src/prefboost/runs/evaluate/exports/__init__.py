"""Evaluations in the files of other evaluators, each written from the outcome of a benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from prefboost.evaluation.benchmark import BenchmarkPrompt, JudgeVerdict
from prefboost.evaluation.protocols import Completions
from prefboost.evaluation.results import Results

__all__ = ["Outcome"]


@dataclass(frozen=True)
class Outcome:
    """Prompts, completions, verdicts and figures of a benchmark.

    Args:
        results: the figures.
        verdicts: one row per question.
        prompts: prompts of a judged benchmark; a measured one keeps none.
        completions: model -> its completions, the baseline's among them.
        goals: contestant -> the score it was asked for.
    """

    results: Results
    verdicts: Sequence[JudgeVerdict]
    prompts: Sequence[BenchmarkPrompt] = ()
    completions: Mapping[str, Completions] = field(default_factory=dict)
    goals: Mapping[str, float | None] = field(default_factory=dict)
