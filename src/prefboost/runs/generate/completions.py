"""From what became of the rows to a table of completions; rows that failed are its rejects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import polars as pl

from prefboost.chat import format_number
from prefboost.engines.engine import Failure, Outcome, Result
from prefboost.runs.generate.requests import CompletionRequest
from prefboost.runs.generate.settings import Generate
from prefboost.tables import COMPLETIONS, REJECTS, Step, Table, reject_where

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
    failed = _reject_failures(
        frame, prompts.path, [(row, outcome) for row, outcome in outcomes if isinstance(outcome, Failure)]
    )
    thoughts = [(row, outcome) for row, outcome in outcomes if isinstance(outcome, Result) and outcome.only_thinks]
    rejects = pl.concat([rejects, failed, _reject_thoughts(frame, prompts.path, thoughts)])
    new: dict[str, list[Any]] = {
        "completion_id": _name_completions(frame, [row for row, _ in completed]),
        "completion": [result.completion for _, result in completed],
        "goal": [row.goal for row, _ in completed],
        "finish_reason": [result.finish_reason for _, result in completed],
        "tokens": [result.tokens for _, result in completed],
    }
    if any(result.reasoning is not None for _, result in completed):
        new["reasoning"] = [result.reasoning for _, result in completed]
    types = {column.name: column.dtype for column in COMPLETIONS.columns}
    columns = [pl.Series(name, values, dtype=types[name]) for name, values in new.items()]
    repeated = frame[[row.prompt for row, _ in completed]]
    completions = repeated.with_columns(*columns, pl.lit(settings.model, dtype=pl.String).alias("model"))
    step = Step(
        "generate",
        settings.model_dump(mode="json"),
        rows_in=len(prompts),
        rows_out=completions.height,
        rejected=dict(Counter(rejects["reason"].to_list())),
        notes={
            "prompts": frame.height,
            "cut at max_tokens": sum(result.finish_reason == "length" for _, result in completed),
            "tokens": sum(result.tokens for _, result in completed),
        },
    )
    return prompts.derive(COMPLETIONS, completions, step, rejects=rejects, scales={})


_FAILURES = {False: "the engine gave no completion", True: "the engine refused the prompt"}
"""Reasons of rejects, by whether asking again is useless."""


def _reject_failures(
    frame: pl.DataFrame, path: str | None, failures: Sequence[tuple[CompletionRequest, Failure]]
) -> pl.DataFrame:
    """Reject rows that the engine could not complete."""
    aside = pl.DataFrame(schema=REJECTS)
    for permanent, reason in _FAILURES.items():
        some = [(row, failure) for row, failure in failures if failure.permanent is permanent]
        faults = [f"{failure.reason} (attempts: {failure.attempts})" for _, failure in some]
        repeated = frame[[row.prompt for row, _ in some]].with_columns(
            completion_id=pl.Series(_name_completions(frame, [row for row, _ in some]), dtype=pl.String),
            _found=pl.Series(faults, dtype=pl.String),
        )
        _, rejects = reject_where(
            repeated, pl.lit(True), stage="generate", reason=reason, path=path, value=pl.col("_found")
        )
        aside = pl.concat([aside, rejects])
    return aside


def _reject_thoughts(
    frame: pl.DataFrame, path: str | None, thoughts: Sequence[tuple[CompletionRequest, Result]]
) -> pl.DataFrame:
    """Reject rows in which the model thought and gave no answer."""
    reason = "the completion is thoughts alone: no answer stands behind them"
    tails = [
        f"{result.tokens:,} tokens, {result.finish_reason}: …{(result.reasoning or '')[-120:]}"
        for _, result in thoughts
    ]
    repeated = frame[[row.prompt for row, _ in thoughts]].with_columns(
        completion_id=pl.Series(_name_completions(frame, [row for row, _ in thoughts]), dtype=pl.String),
        _found=pl.Series(tails, dtype=pl.String),
    )
    return reject_where(repeated, pl.lit(True), stage="generate", reason=reason, path=path, value=pl.col("_found"))[1]


def _name_completions(frame: pl.DataFrame, rows: Sequence[CompletionRequest]) -> list[str]:
    ids = frame["prompt_id"].to_list()
    return [_name_completion(ids[row.prompt], row) for row in rows]


def _name_completion(prompt_id: str, row: CompletionRequest) -> str:
    goal = [] if row.goal is None else [f"goal {format_number(row.goal, 6)}"]
    return "/".join([prompt_id, *goal, str(row.request.sample)])
