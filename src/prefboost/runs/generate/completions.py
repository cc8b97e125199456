"""From what became of the rows to a table of completions; rows that failed are its rejects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from prefboost.chat import format_number
from prefboost.engines.engine import Failure, Outcome, Result
from prefboost.runs.generate.requests import CompletionRequest
from prefboost.runs.generate.settings import Generate
from prefboost.tables import COMPLETIONS, REJECTS, Table, reject_where

__all__ = ["build_completions"]


def build_completions(
    prompts: Table,
    frame: pl.DataFrame,
    rejects: pl.DataFrame,
    settings: Generate,
    outcomes: Sequence[tuple[CompletionRequest, Outcome]],
) -> Table:
    """Build the table of completions: rows that succeeded, in their order.

    Args:
        prompts: what was read; its steps and rejects are kept.
        frame: the prompts that rows point into.
        rejects: prompts set aside before.
        settings: what was generated.
        outcomes: rows and what became of them.
    """
    completed = [(row, result) for row, result in outcomes if isinstance(result, Result) and not result.only_thinks]
    rejects = pl.concat([rejects, _reject_unanswered(frame, prompts.path, outcomes)])
    new: dict[str, list[Any]] = {
        "completion_id": _name_completions(frame, [row for row, _ in completed]),
        "completion": [result.completion for _, result in completed],
        "goal": [row.goal for row, _ in completed],
        "finish_reason": [result.finish_reason for _, result in completed],
        "tokens": [result.tokens for _, result in completed],
    }
    if any(result.reasoning is not None for _, result in completed):
        new["reasoning"] = [result.reasoning for _, result in completed]
    for aspect in sorted({name for vector in settings.vectors for name in vector} - {"goal"}):
        new[f"goal.{aspect}"] = [row.aspects.get(aspect) for row, _ in completed]
    types = {column.name: column.dtype for column in COMPLETIONS.columns}
    columns = [pl.Series(name, values, dtype=types.get(name, pl.Float64)) for name, values in new.items()]
    repeated = frame[[row.prompt for row, _ in completed]]
    completions = repeated.with_columns(*columns, pl.lit(settings.model, dtype=pl.String).alias("model"))
    step = prompts.build_step(
        "generate",
        settings.model_dump(mode="json"),
        completions,
        rejects,
        {
            "prompts": frame.height,
            "cut at max_tokens": sum(result.finish_reason == "length" for _, result in completed),
            "tokens": sum(result.tokens for _, result in completed),
        },
    )
    return prompts.derive(COMPLETIONS, completions, step, rejects=rejects, scales={})


def _reject_unanswered(
    frame: pl.DataFrame, path: str | None, outcomes: Sequence[tuple[CompletionRequest, Outcome]]
) -> pl.DataFrame:
    """Reject rows that the engine could not complete, and those in which the model thought and gave no answer."""
    failures = [(row, outcome) for row, outcome in outcomes if isinstance(outcome, Failure)]
    thoughts = [(row, outcome) for row, outcome in outcomes if isinstance(outcome, Result) and outcome.only_thinks]
    texts = {
        reason: [
            (row, f"{failure.reason} (attempts: {failure.attempts})")
            for row, failure in failures
            if failure.permanent is permanent
        ]
        for reason, permanent in (("the engine gave no completion", False), ("the engine refused the prompt", True))
    }
    texts["the completion is thoughts alone: no answer stands behind them"] = [
        (row, f"{result.tokens:,} tokens, {result.finish_reason}: …{(result.reasoning or '')[-120:]}")
        for row, result in thoughts
    ]
    aside = pl.DataFrame(schema=REJECTS)
    for reason, rows in texts.items():
        repeated = frame[[row.prompt for row, _ in rows]].with_columns(
            completion_id=pl.Series(_name_completions(frame, [row for row, _ in rows]), dtype=pl.String),
            _found=pl.Series([text for _, text in rows], dtype=pl.String),
        )
        rejects = reject_where(
            repeated, pl.lit(True), stage="generate", reason=reason, path=path, value=pl.col("_found")
        )[1]
        aside = pl.concat([aside, rejects])
    return aside


def _name_completions(frame: pl.DataFrame, rows: Sequence[CompletionRequest]) -> list[str]:
    ids = frame["prompt_id"].to_list()
    goals = [
        [
            *([] if row.goal is None else [f"goal {format_number(row.goal, 6)}"]),
            *(f"{name} {format_number(value, 6)}" for name, value in sorted(row.aspects.items())),
        ]
        for row in rows
    ]
    return ["/".join([ids[row.prompt], *goal, str(row.request.sample)]) for row, goal in zip(rows, goals, strict=True)]
