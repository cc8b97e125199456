"""New completions of a policy on held-out prompts: their scores, and their KL to the start model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from prefboost.chat.rendering import GoalRequest
from prefboost.diagnosis.log_ratios import compute_policy_ratios, open_policy_reader
from prefboost.engines.budget import UNLIMITED
from prefboost.engines.engine import Sampling
from prefboost.engines.local.engine import Local
from prefboost.progress import Tell
from prefboost.runs.generate.generate import generate
from prefboost.runs.generate.settings import Generate
from prefboost.runs.score.questions import open_call_session
from prefboost.runs.score.score import score
from prefboost.scoring.scorer import Scorer
from prefboost.scoring.sequence_logps import LogprobModel
from prefboost.scoring.sides import ScoredItem, Scores, list_scored_items
from prefboost.tables import PROMPTS, Step, Table, aspects_of

__all__ = ["CompletionMeasures", "average_within_prompts", "measure_scored_completions", "sample_completions"]

PromptMeasures = dict[str, dict[str, float]]
"""Measure -> prompt_id -> value."""


@dataclass(frozen=True)
class CompletionMeasures:
    """The way in which new completions are drawn and scored.

    Args:
        scorer: gives the score.
        sampling: how tokens are drawn.
        samples: completions per prompt.
    """

    scorer: Scorer
    sampling: Sampling
    samples: int = 1


def sample_completions(
    rows: Table, model: str, goal: GoalRequest, how: CompletionMeasures, folder: Path, tell: Tell
) -> Table:
    """Let a policy complete held-out prompts, and score what it wrote.

    Args:
        rows: any table with prompts; each is completed once.
        model: the policy.
        goal: the score, or score per aspect, that it is asked for; None: nothing is asked for.
        how: scorer and sampling.
        folder: of the completions and their scores; an interrupted call resumes.
        tell: is told the progress.

    Returns:
        ScoredCompletions with ``goal`` (of aspects ``goal.ASPECT``) and ``tokens``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    columns = [column.name for column in PROMPTS.columns if column.name in rows.frame.columns]
    frame = rows.frame.select(columns).unique("prompt_id", keep="first", maintain_order=True)
    prompts = rows.derive(PROMPTS, frame, Step("prompts", {}, len(rows), frame.height), scales={})
    settings = Generate(
        engine=Local(model=model),
        sampling=how.sampling,
        n=how.samples,
        goals=(goal,) if isinstance(goal, float | int) else (),
        vectors=(dict(goal),) if isinstance(goal, Mapping) else (),
        silent=goal is None,
    )
    completions = generate(prompts, settings, folder / "completions.parquet", progress=tell)
    return score(completions, how.scorer, folder / "scored.parquet", progress=tell)


def measure_scored_completions(
    scored: Table, model: str, start: LogprobModel, store: Path | None, tell: Tell, aspects: Sequence[str] = ()
) -> PromptMeasures:
    """Measure a policy's own scored completions.

    Args:
        scored: ScoredCompletions that the policy wrote; their prompts ask for the columns ``goal`` and ``goal.ASPECT``,
            where there are any.
        model: the policy.
        start: the model that its training began with.
        store: folder that keeps the log-probs; None keeps none.
        tell: is told the progress.
        aspects: those whose scores are averaged.

    Returns:
        per prompt: ``score``; ``aspect_score``, the mean of the aspects that have one; ``tokens`` of a completion,
        where they are known; and ``kl``: log-prob under the policy
        minus that under the start model, in nats per completion (an estimate of the KL divergence, as the policy wrote
        them).
    """
    frame = scored.frame
    items, goals = list_scored_items(scored), frame["goal"].to_list() if "goal" in frame.columns else []
    vectors = frame.select(pl.col(f"goal.{name}").alias(name) for name in aspects_of(frame.schema, "goal")).to_dicts()

    def find_request(item: ScoredItem) -> GoalRequest:
        vector = {name: value for name, value in vectors[item.row].items() if value is not None} if vectors else {}
        return vector or (goals[item.row] if goals else None)

    # The start model against itself is zero by definition, whether or not its template could read a completion.
    ratios = dict.fromkeys(((item.row, item.side) for item in items), 0.0)
    if model != start.name:
        reader = open_policy_reader(model, start)
        encoded = reader.encode(items, Scores(), find_request)
        with open_call_session(None, store, UNLIMITED, tell) as session:
            computed = compute_policy_ratios(start, {model: list(encoded.values())}, session)[model]
        ratios = dict(zip(encoded, computed.tolist(), strict=True))
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    rated = [f"score.{name}" for name in aspects if f"score.{name}" in frame.columns]
    for at, row in enumerate(frame.select(["prompt_id", "score", *{"tokens"} & {*frame.columns}, *rated]).to_dicts()):
        if row["score"] is not None:
            values["score"][row["prompt_id"]].append(row["score"])
        if ratings := [row[name] for name in rated if row[name] is not None]:
            values["aspect_score"][row["prompt_id"]].append(float(np.mean(ratings)))
        if row.get("tokens") is not None:
            values["tokens"][row["prompt_id"]].append(float(row["tokens"]))
        if (at, "completion") in ratios:
            values["kl"][row["prompt_id"]].append(ratios[at, "completion"])
    return average_within_prompts(values)


def average_within_prompts(values: dict[str, dict[str, list[float]]]) -> PromptMeasures:
    """Average the values of each prompt: measure -> prompt_id -> mean."""
    return {name: {prompt: float(np.mean(numbers)) for prompt, numbers in by.items()} for name, by in values.items()}
