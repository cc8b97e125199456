"""`select` on files: the best of scored completions in, rows to fine-tune on out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import polars as pl
from pydantic import Field

from prefboost.preferences.accept import SELECT_STRATEGIES, SelectStrategy
from prefboost.preferences.select import Select, select
from prefboost.runs.outputs import write_output
from prefboost.settings import Settings, choice
from prefboost.sources import Columns
from prefboost.sources.writers.file_types import find_file_type
from prefboost.sources.writers.outputs import companions, refuse_foreign, refuse_inputs
from prefboost.tables import SCORED_COMPLETIONS, Step, Table, reject_where

__all__ = ["SelectCompletions", "select_completions", "count_selection"]


class SelectCompletions(Settings):
    """Settings of `select`: which completions are kept, and the shape in which they are written."""

    strategy: Annotated[SelectStrategy, choice(SELECT_STRATEGIES)] = Field(
        description="Choice of a prompt's completions by their scores."
    )
    select: Select | None = Field(None, description="Limits that a completion passes before scores are compared.")
    cut: Literal["drop", "keep"] = Field(
        "drop",
        description="Completions that generation cut at the token limit: rejected before scores are compared (a "
        "trainer would teach an end of turn there), or kept.",
    )
    format: Literal["trl", "prefboost"] = Field(
        "trl", description="trl: prompt and completion as lists of messages, for SFTTrainer; prefboost: every column."
    )
    columns: Columns = Field(Columns(), description="Columns of the file, where they are not guessed right.")


def select_completions(
    table: Table, how: SelectCompletions, out: str | Path | None = None, *, overwrite: bool = False
) -> Table:
    """Keep the best completions of every prompt, and write them.

    Args:
        table: ScoredCompletions.
        how: which, and in what shape they are written.
        out: ``.parquet`` or ``.jsonl`` file to write, with what was done in ``OUT.select.json`` and what was not kept
            in ``OUT.rejects.parquet``, reason by reason.
        overwrite: replace other rows that `select` wrote; a file that it did not write is never replaced.

    Returns:
        ScoredCompletions, those left out as rejects.

    Raises:
        DataError: the table is of another kind, or the output's name ends in no type of file.
        MissingScores: no completion has a score.
        SettingsError: a limit is in tokens, which nothing counts here.
        RunError: the output is the input, is not of `select`, or holds other rows.
    """
    if out is not None:
        find_file_type(Path(out))
        files = companions(out, ".select.json")
        refuse_inputs(files, [table], far=True)
        refuse_foreign(files, files[-1:], "select")
    selected = table
    if how.cut == "drop" and table.spec is SCORED_COMPLETIONS and "finish_reason" in table.frame.columns:
        cut = (pl.col("finish_reason") == "length").fill_null(value=False)
        reason = "generation cut the completion at the token limit"
        frame, rejects = reject_where(table.frame, cut, stage="select", reason=reason, path=table.path)
        counts = {reason: rejects.height} if len(rejects) else {}
        step = Step("select", {"cut": "drop"}, len(table), frame.height, counts)
        selected = table.derive(SCORED_COMPLETIONS, frame, step, rejects=rejects)
    selected = selected if how.select is None else select(selected, how.select)
    selected = select(selected, how.strategy)
    if out is None:
        return selected
    history = {"select": lambda written: count_selection(table, written)}
    return write_output(selected, Path(out), history=history, format=how.format, overwrite=overwrite)


def count_selection(table: Table, selected: Table) -> dict[str, Any]:
    """Count completions, prompts and mean scores, of all and of those kept, and rejects by reason."""
    return {
        "rows": len(table),
        "kept": len(selected),
        "prompts": table.frame["prompt_id"].n_unique(),
        "prompts kept": selected.frame["prompt_id"].n_unique(),
        "score mean": table.frame["score"].mean(),
        "score mean kept": selected.frame["score"].mean(),
        "rejected": dict(selected.rejects["reason"].value_counts(sort=True).iter_rows()),
    }
