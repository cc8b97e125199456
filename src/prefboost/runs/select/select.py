"""`select`: the best of scored completions in, rows to fine-tune on out."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from prefboost.preferences.score_selection import select_by_score
from prefboost.preferences.select import select
from prefboost.runs.folder.staging import Staging
from prefboost.runs.outputs import write_output
from prefboost.runs.select.counts import count_part, count_selection
from prefboost.runs.select.folder import Made, SelectFolder, write_parts_of
from prefboost.runs.select.settings import SelectCompletions
from prefboost.sources import read_batches
from prefboost.sources.layouts.unmapped import refuse_unmapped
from prefboost.sources.stored import read_stored
from prefboost.sources.writers.outputs import list_output_files, refuse_foreign, refuse_inputs
from prefboost.tables import SCORED_COMPLETIONS, Table, reject_where

__all__ = [
    "drop_cut_completions",
    "limit_completions",
    "preview_selection",
    "select_completions",
    "select_source",
]

_PREVIEW_RECORDS = 1_000


def select_source(source: str, how: SelectCompletions, out: Path, *, overwrite: bool = False) -> Mapping[str, Any]:
    """Read completions, keep the best of every prompt, and write them.

    Args:
        source: a file, folder or hub id.
        how, out, overwrite, raises: see `select_completions`.

    Returns:
        the counts; with ``skipped`` where the same output folder was there already, for which nothing is read.
    """
    folder = SelectFolder.at(out, how, source)
    if folder is None:
        table = read_stored(source, columns=how.columns)
        return _select_to_file(table, how, out, overwrite=overwrite)[1]

    def make(staging: Staging) -> Made:
        table = read_stored(source, columns=how.columns)
        selected = select_by_score(limit_completions(table, how), how.strategy)
        return write_parts_of(selected, [count_part(table, selected)], (folder.kind, how), staging)

    return folder.finish(make, overwrite=overwrite)


def preview_selection(source: str, how: SelectCompletions) -> dict[str, Any]:
    """Count what would be kept of the first records (`count_selection`); nothing is written.

    Args:
        source: a file, folder or hub id.
        how: which are kept.

    Raises:
        DataError, MissingScores, SettingsError: see `select_completions`.
    """
    first = refuse_unmapped(next(iter(read_batches(source, columns=how.columns, rows=_PREVIEW_RECORDS))))
    return count_selection(first, select_by_score(limit_completions(first, how), how.strategy))


def select_completions(
    table: Table, how: SelectCompletions, out: str | Path | None = None, *, overwrite: bool = False
) -> Table:
    """Keep the best completions of every prompt, and write them.

    Args:
        table: ScoredCompletions.
        how: which, and in what shape they are written.
        out: ``.parquet`` or ``.jsonl`` file to write, with what was done in ``OUT.select.json`` and what was not kept
            in ``OUT.rejects.parquet``, reason by reason; or a folder (README.md, prefboost.json, rejects.parquet,
            data/), which is written whole or not at all.
        overwrite: replace other rows that `select` wrote; a file that it did not write is never replaced.

    Returns:
        ScoredCompletions, those left out as rejects.

    Raises:
        DataError: the table is of another kind, or the output's name ends in no type of file.
        MissingScores: no completion has a score.
        SettingsError: a limit is in tokens, which nothing counts here.
        RunError: the output is the input, is not of `select`, or holds other rows.
    """
    folder = None if out is None else SelectFolder.at(out, how, table)
    if out is not None and folder is None:
        return _select_to_file(table, how, Path(out), overwrite=overwrite)[0]
    selected = select_by_score(limit_completions(table, how), how.strategy)
    if folder is not None:
        counts = [count_part(table, selected)]
        folder.finish(partial(write_parts_of, selected, counts, (folder.kind, how)), overwrite=overwrite)
    return selected


def _select_to_file(
    table: Table, how: SelectCompletions, out: Path, *, overwrite: bool
) -> tuple[Table, Mapping[str, Any]]:
    """Select completions and write them to a file; return them, and their counts, for which all rows are read."""
    files = list_output_files(out, ".select.json")
    refuse_inputs(files, [table], far=True)
    refuse_foreign(files, files[-1:], "select")
    selected = select_by_score(limit_completions(table, how), how.strategy)
    counts: dict[str, Any] = {}

    def count(written: Table) -> Mapping[str, Any]:
        counts.update(count_selection(table, written))
        return counts

    return write_output(selected, out, history={"select": count}, format=how.format, overwrite=overwrite), counts


def limit_completions(table: Table, how: SelectCompletions) -> Table:
    """Keep the completions within the limits, before scores are compared."""
    within = drop_cut_completions(table) if how.cut == "drop" else table
    return within if how.select is None else select(within, how.select)


def drop_cut_completions(table: Table) -> Table:
    """Drop the completions that generation cut at the token limit, where the table tells them."""
    if table.spec is not SCORED_COMPLETIONS or "finish_reason" not in table.schema:
        return table
    cut = (pl.col("finish_reason") == "length").fill_null(value=False)
    reason = "generation cut the completion at the token limit"

    def drop_cut(frame: pl.DataFrame, _: int) -> tuple[pl.DataFrame, pl.DataFrame]:
        return reject_where(frame, cut, stage="select", reason=reason, path=table.path)

    rows, rejects = table.split(drop_cut, [reason])
    step = table.build_step("select", {"cut": "drop"}, rows, rejects)
    return table.derive(SCORED_COMPLETIONS, rows, step, rejects=rejects)
