"""`judge`: pairs in, verdicts out, with figures on the judge; an interrupted run goes on where it stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from prefboost.engines.budget import UNLIMITED, Spending
from prefboost.engines.call_session import CallSession
from prefboost.progress import Tell, WorkProgress
from prefboost.runs.score.questions import check_rejects, open_call_session, write_answered
from prefboost.scoring.answers import FAILED
from prefboost.scoring.judges.figures import JudgeFigures, judge_figures
from prefboost.scoring.judges.judge import JUDGES, Judge, StoredJudge
from prefboost.settings import choice
from prefboost.sources import Columns
from prefboost.sources.writers.outputs import guard_file
from prefboost.tables import Table

__all__ = ["Judging", "judge", "write_finished_verdicts"]


class Judging(Spending):
    """Settings of `judge`: the judge, its budget, and the columns of the pairs."""

    judge: Annotated[Judge, choice(JUDGES)] = Field(description="Judge of the pairs.")
    columns: Columns = Field(Columns(), description="Columns of the file, where they are not guessed right.")


def judge(
    table: Table,
    by: Judge,
    out: str | Path | None = None,
    *,
    spending: Spending = UNLIMITED,
    store: str | Path | None = None,
    progress: Tell = lambda _: None,
) -> tuple[Table, JudgeFigures]:
    """Judge every pair in both orders.

    Args:
        table: PreferencePairs.
        by: the judge.
        out: ``.parquet`` or ``.jsonl`` file to write, with what was done and the figures in ``OUT.judge.json`` and the
            rejected rows in the file of `locate_rejects`. What is finished is kept in the folder ``OUT.store``: the
            same call after an interruption goes on from there, after a change it asks only what changed, and a second
            process shares the work.
        spending: budget and prices of the model that judges.
        store: a folder to use in the place of ``OUT.store``, e.g. one that generation, scoring and judging share.
        progress: called after every batch.

    Returns:
        Verdicts, and the figures on the judge.

    Raises:
        DataError: the table holds no pairs, or none of them could be judged.
        ModelError: a model cannot be loaded or asked.
        RunError: the budget is spent before all is done, and what is done stays in the store; or less than
            ``spending.least_answered`` was answered, which is written all the same. Or the output is an input,
            or a file that `judge` did not write.
    """
    guard_file(out, "judge", [table], [by])
    with open_call_session(out, store, spending, progress) as session:
        verdicts, figures = _write_verdicts(_judge_by(table, by, session), out, session)
    check_rejects(verdicts, len(table), (FAILED,), spending)
    return verdicts, figures


def write_finished_verdicts(
    table: Table, by: Judge, out: str | Path, *, store: str | Path | None = None
) -> tuple[Table, JudgeFigures]:
    """Write what `judge` has finished; asks nothing, also while another process judges.

    Args:
        table, by, out, store: see `judge`.

    Returns:
        verdicts on the pairs that are judged in both orders; the others are rejects, not done yet.

    Raises:
        RunError: there is no store.
        DataError: no pair at all is finished.
    """
    guard_file(out, "judge", [table], [by])
    with open_call_session(out, store, UNLIMITED, lambda _: None, partial=True) as session:
        return _write_verdicts(_judge_by(table, by, session), out, session)


def _write_verdicts(verdicts: Table, out: str | Path | None, session: CallSession) -> tuple[Table, JudgeFigures]:
    figures = judge_figures(verdicts)
    return write_answered(verdicts, out, session, "judge", lambda _: {"figures": figures.record()}), figures


def _judge_by(table: Table, by: Judge, session: CallSession) -> Table:
    if isinstance(by, StoredJudge):
        return by.judge_stored(table, session)
    session.tell(WorkProgress("verdicts", len(table)))
    verdicts = by.judge(table)
    session.tell(WorkProgress("verdicts", len(table), len(table)))
    return verdicts
