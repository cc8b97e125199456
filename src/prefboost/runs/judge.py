"""`judge`: pairs in, verdicts out, with figures on the judge; an interrupted run goes on where it stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from prefboost.runs.generate import rejects_file, write_rejects
from prefboost.runs.score import write_history
from prefboost.scoring.judge import JUDGES, Judge, StoredJudge
from prefboost.scoring.judge_figures import JudgeFigures, judge_figures
from prefboost.scoring.stored import Numbers, ScoreJournal, ScoreProgress, Tell
from prefboost.settings import Settings, choice
from prefboost.sources import Columns
from prefboost.sources.file_types import file_type_of
from prefboost.sources.write import write
from prefboost.tables import Table

__all__ = ["Judging", "judge"]


class Judging(Settings):
    """Who judges, and how the pairs are read."""

    judge: Annotated[Judge, choice(JUDGES)] = Field(description="Who compares the completions.")
    columns: Columns = Field(Columns(), description="Columns of the file, where they are not guessed right.")


def judge(
    table: Table, by: Judge, out: str | Path | None = None, *, progress: Tell = lambda _: None
) -> tuple[Table, JudgeFigures]:
    """Judge every pair in both orders.

    Args:
        table: PreferencePairs.
        by: the judge.
        out: ``.parquet`` or ``.jsonl`` file to write, with what was done and the figures in ``OUT.judge.json`` and the
            rows that were set aside in `rejects_file`. While it is being made ``OUT.journal`` holds what is finished:
            the same call after an interruption goes on from there.
        progress: called after every batch.

    Returns:
        Verdicts, and the figures on the judge.

    Raises:
        DataError: the table holds no pairs, or none of them could be judged.
        ModelError: a model cannot be loaded or asked.
        RunError: another process is writing the same output.
    """
    if out is None:
        verdicts = _judged(table, by, None, progress)
        return verdicts, judge_figures(verdicts)
    target = Path(out)
    file_type_of(target)
    with ScoreJournal(target.with_name(f"{target.name}.journal"), Numbers) as journal:
        verdicts = write(_judged(table, by, journal, progress), target)
        figures = judge_figures(verdicts)
        write_rejects(verdicts.rejects, rejects_file(target))
        history = target.with_name(f"{target.name}.judge.json")
        write_history(verdicts, history, {"figures": figures.record()})
        journal.delete()
    return verdicts, figures


def _judged(table: Table, by: Judge, journal: ScoreJournal | None, progress: Tell) -> Table:
    if isinstance(by, StoredJudge):
        return by.judge_stored(table, journal, progress)
    progress(ScoreProgress("verdicts", len(table)))
    verdicts = by.judge(table)
    progress(ScoreProgress("verdicts", len(table), len(table)))
    return verdicts
