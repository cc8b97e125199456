"""From what became of the rows to a table of completions; rows that failed are its rejects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from prefboost.engines.engine import Failure, Result
from prefboost.runs.generate.outcomes import OutcomeFile
from prefboost.runs.generate.requests import WantedCompletion, cut_prompts, list_wanted
from prefboost.runs.generate.settings import Generate
from prefboost.tables import (
    COMPLETIONS,
    REJECTS,
    FrameFile,
    RejectFile,
    RowPieces,
    StoredRejects,
    StoredTable,
    Table,
    reject_where,
)

__all__ = ["build_completions"]

_UNANSWERED, _REFUSED = "the engine gave no completion", "the engine refused the prompt"
_ONLY_THINKS = "the completion is thoughts alone: no answer stands behind them"
_REASONS = (_UNANSWERED, _REFUSED, _ONLY_THINKS)


class _Row(NamedTuple):
    """A row of the piece that is built: place of its prompt in the piece, its id, and what was wanted."""

    prompt: int
    completion_id: str
    wanted: WantedCompletion


_TYPES = {column.name: column.dtype for column in COMPLETIONS.columns}


def build_completions(
    prompts: Table,
    prepared: Table,
    rejects: pl.DataFrame | StoredRejects,
    settings: Generate,
    outcomes: OutcomeFile,
) -> Table:
    """Build the table of completions: rows that succeeded, in their order.

    Args:
        prompts: what was read; its steps and rejects are kept.
        prepared: the prompts that were completed, with the columns that are carried on.
        rejects: prompts set aside before.
        settings: what was generated.
        outcomes: of the requests of all prompts, in the order of `list_requests`.

    Returns:
        the table; of more than some thousand rows these wait on disk.
    """
    builder = _CompletionBuilder(settings, outcomes, prompts.path)
    pieces, unanswered = FrameFile(), RejectFile(_REASONS)
    for frame in cut_prompts(prepared, settings):
        completed, aside = builder.build(frame)
        pieces.add(completed)
        unanswered.add(aside)
    rejects = StoredRejects.of(rejects) + unanswered.finish()
    rows: Any = RowPieces.of_file(pieces)
    begin = prompts
    if len(pieces.heights) == 1:  # no longer than what was built at once
        rows = pieces.read(0)
    elif not isinstance(prompts, StoredTable):
        begin = StoredTable(prompts.spec, rows, prompts.rejects, prompts.steps, prompts.scales, prompts.path)
    step = prompts.build_step(
        "generate",
        settings.model_dump(mode="json"),
        rows,
        rejects,
        {
            "prompts": len(prepared),
            "cut at max_tokens": builder.counts["cut at max_tokens"],
            "tokens": builder.counts["tokens"],
        },
    )
    return begin.derive(COMPLETIONS, rows, step, rejects=rejects, scales={})


class _CompletionBuilder:
    """Builds rows and rejects piece by piece, in the order of the prompts."""

    def __init__(self, settings: Generate, outcomes: OutcomeFile, path: str | None) -> None:
        self.counts: Counter[str] = Counter()
        self._settings, self._outcomes, self._path = settings, outcomes, path
        self._of_prompt = [(each, each.name) for each in list_wanted(settings)]
        self._aspects = sorted({name for vector in settings.vectors for name in vector} - {"goal"})
        self._start = 0

    def build(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Build the completions of the next prompts, and rejects of those that failed."""
        completed: list[_Row] = []
        results: list[Result] = []
        faults: dict[str, list[tuple[_Row, str]]] = {reason: [] for reason in _REASONS}
        ids = frame["prompt_id"].to_list()
        for prompt, prompt_id in enumerate(ids):
            first = (self._start + prompt) * len(self._of_prompt)
            for number, (completion, name) in enumerate(self._of_prompt, first):
                outcome, row = self._outcomes[number], _Row(prompt, f"{prompt_id}/{name}", completion)
                if isinstance(outcome, Failure):
                    reason = _REFUSED if outcome.permanent else _UNANSWERED
                    faults[reason].append((row, f"{outcome.reason} (attempts: {outcome.attempts})"))
                elif outcome is not None and outcome.only_thinks:
                    thoughts = (outcome.reasoning or "")[-120:]
                    fault = f"{outcome.tokens:,} tokens, {outcome.finish_reason}: …{thoughts}"
                    faults[_ONLY_THINKS].append((row, fault))
                elif outcome is not None:
                    completed.append(row)
                    results.append(outcome)
        self._start += len(ids)
        self.counts["cut at max_tokens"] += sum(result.finish_reason == "length" for result in results)
        self.counts["tokens"] += sum(result.tokens for result in results)
        return self._build_rows(frame, completed, results), self._reject(frame, faults)

    def _build_rows(self, frame: pl.DataFrame, rows: Sequence[_Row], results: Sequence[Result]) -> pl.DataFrame:
        new: dict[str, list[Any]] = {
            "completion_id": [row.completion_id for row in rows],
            "completion": [result.completion for result in results],
            "goal": [row.wanted.goal for row in rows],
            "finish_reason": [result.finish_reason for result in results],
            "tokens": [result.tokens for result in results],
        }
        if self._outcomes.has_reasoning:
            new["reasoning"] = [result.reasoning for result in results]
        for aspect in self._aspects:
            new[f"goal.{aspect}"] = [row.wanted.aspects.get(aspect) for row in rows]
        columns = [pl.Series(name, values, dtype=_TYPES.get(name, pl.Float64)) for name, values in new.items()]
        model = pl.lit(self._settings.model, dtype=pl.String).alias("model")
        return frame[[row.prompt for row in rows]].with_columns(*columns, model)

    def _reject(self, frame: pl.DataFrame, faults: Mapping[str, Sequence[tuple[_Row, str]]]) -> pl.DataFrame:
        """Reject rows that the engine could not complete, and those in which the model thought and gave no answer."""
        every = [pl.DataFrame(schema=REJECTS)]
        for reason, rows in faults.items():
            failed = frame[[row.prompt for row, _ in rows]].with_columns(
                completion_id=pl.Series([row.completion_id for row, _ in rows], dtype=pl.String),
                _found=pl.Series([fault for _, fault in rows], dtype=pl.String),
            )
            every.append(
                reject_where(
                    failed, pl.lit(True), stage="generate", reason=reason, path=self._path, value=pl.col("_found")
                )[1]
            )
        return pl.concat(every)
