"""`select` on files: the best of scored completions in, rows to fine-tune on out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
from pydantic import Field

from prefboost.preferences.accept import SELECT_STRATEGIES, SelectStrategy, accept
from prefboost.preferences.scales.kinds import Scores
from prefboost.preferences.select import Select, select
from prefboost.runs.outputs import write_output
from prefboost.settings import Settings, choice
from prefboost.sources import Columns
from prefboost.sources.writers.file_types import find_file_type
from prefboost.sources.writers.outputs import companions, refuse_foreign, refuse_inputs
from prefboost.tables import SCORED_COMPLETIONS, Step, Table, reject_where

__all__ = [
    "SelectCompletions",
    "count_part",
    "count_selection",
    "drop_cut_completions",
    "select_completions",
    "sum_counts",
    "sum_exactly",
]


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
    within = drop_cut_completions(table) if how.cut == "drop" else table
    within = within if how.select is None else select(within, how.select)
    selected = accept(within, how.strategy)
    if out is None:
        return selected
    history = {"select": lambda written: count_selection(table, written)}
    return write_output(selected, Path(out), history=history, format=how.format, overwrite=overwrite)


def drop_cut_completions(table: Table) -> Table:
    """Drop the completions that generation cut at the token limit, where the table tells them."""
    if table.spec is not SCORED_COMPLETIONS or "finish_reason" not in table.frame.columns:
        return table
    cut = (pl.col("finish_reason") == "length").fill_null(value=False)
    reason = "generation cut the completion at the token limit"
    frame, rejects = reject_where(table.frame, cut, stage="select", reason=reason, path=table.path)
    counts = {reason: rejects.height} if len(rejects) else {}
    step = Step("select", {"cut": "drop"}, len(table), frame.height, counts)
    return table.derive(SCORED_COMPLETIONS, frame, step, rejects=rejects)


def count_selection(table: Table, selected: Table) -> dict[str, Any]:
    """Count completions, prompts and mean scores, of all and of those kept, and rejects by reason."""
    return sum_counts([count_part(table, selected)], selected)


def count_part(table: Table, selected: Table) -> dict[str, Any]:
    """Count a part of a table as `count_selection` does the whole; sums of scores are exact, as text."""
    counts: dict[str, Any] = {}
    for name, each in (("", table), (" kept", selected)):
        scores = each.frame["score"].drop_nulls()
        counts[f"rows{name}"] = len(each)
        counts[f"prompts{name}"] = each.frame["prompt_id"].n_unique()
        counts[f"scored{name}"] = len(scores)
        counts[f"sum{name}"] = str(sum_exactly(scores.to_numpy()))
    return counts


def sum_counts(parts: Sequence[Mapping[str, Any]], selected: Table) -> dict[str, Any]:
    """Sum the counts of parts (`count_part`) that share no prompt."""

    def sum_over(name: str) -> int:
        return sum(part[name] for part in parts)

    def compute_mean(name: str) -> float | None:
        total, count = sum(Fraction(part[f"sum{name}"]) for part in parts), sum_over(f"scored{name}")
        return float(total / count) if count else None

    reasons = selected.rejects["reason"].value_counts().sort("count", "reason", descending=[True, False])
    return {
        "rows": sum_over("rows"),
        "kept": sum_over("rows kept"),
        "prompts": sum_over("prompts"),
        "prompts kept": sum_over("prompts kept"),
        "score mean": compute_mean(""),
        "score mean kept": compute_mean(" kept"),
        "rejected": dict(reasons.iter_rows()),
    }


def sum_exactly(numbers: Scores) -> Fraction:
    """Sum finite float64 numbers without any rounding, so that the sum does not depend on their order or grouping."""
    mantissas, exponents = np.frexp(numbers)
    wholes = (mantissas * 2**53).astype(np.int64)
    total = Fraction(0)
    for exponent in np.unique(exponents):
        of_exponent = wholes[exponents == exponent]
        # In two halves, of which no sum of fewer than 2^36 numbers overflows.
        whole = (int((of_exponent >> 26).sum()) << 26) + int((of_exponent & (2**26 - 1)).sum())
        total += Fraction(whole) * Fraction(2) ** (int(exponent) - 53)
    return total
