"""`score`: completions or pairs in, the same with scores out; an interrupted run goes on where it stopped."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from prefboost.engines.budget import UNLIMITED, Spending
from prefboost.engines.call_session import CallSession
from prefboost.progress import Tell, WorkProgress
from prefboost.runs.score.questions import check_rejects, open_call_session, write_answered
from prefboost.scoring.answers import FAILED
from prefboost.scoring.scorer import SCORERS, Scorer, StoredScorer
from prefboost.settings import choice
from prefboost.sources import Columns
from prefboost.sources.writers.outputs import guard_file
from prefboost.tables import PREFERENCE_PAIRS, Table

__all__ = ["Score", "count_scores", "score", "score_by", "write_finished_scores"]


class Score(Spending):
    """Settings of `score`: the scorer, its budget, and the columns of the file."""

    scorer: Annotated[Scorer, choice(SCORERS)] = Field(description="Scorer of the completions.")
    columns: Columns = Field(Columns(), description="Columns of the file, where they are not guessed right.")


def score(
    table: Table,
    scorer: Scorer,
    out: str | Path | None = None,
    *,
    spending: Spending = UNLIMITED,
    store: str | Path | None = None,
    progress: Tell = lambda _: None,
) -> Table:
    """Score every completion of a table.

    Args:
        table: Completions, ScoredCompletions (whose scores are replaced) or PreferencePairs.
        scorer: of `prefboost.scoring`, or anyone's.
        out: ``.parquet`` or ``.jsonl`` file to write, with what was done and the fitted scale in ``OUT.score.json`` and
            the rejected rows in the file of `locate_rejects`. What is finished is kept in the folder ``OUT.store``: the
            same call after an interruption goes on from there, after a change it computes and asks only what
            changed, and a second process shares the work.
        spending: budget and prices of the model that a rater asks.
        store: a folder to use in the place of ``OUT.store``, e.g. one that generation, scoring and judging share.
        progress: called after every batch.

    Returns:
        ScoredCompletions or PreferencePairs.

    Raises:
        DataError: the table has no completions, or none of them could be scored.
        ModelError: a model cannot be loaded.
        RunError: the budget is spent before all is done, and what is done stays in the store; or less than
            ``spending.least_answered`` was answered, which is written all the same. Or the output is an input,
            or a file that `score` did not write.
    """
    guard_file(out, "score", [table], [scorer])
    with open_call_session(out, store, spending, progress) as session:
        scored = write_answered(score_by(table, scorer, session), out, session, "score", count_scores)
    check_rejects(scored, len(table), (FAILED,), spending)
    return scored


def write_finished_scores(table: Table, scorer: Scorer, out: str | Path, *, store: str | Path | None = None) -> Table:
    """Write what `score` has finished; computes and asks nothing, also while another process scores.

    Args:
        table, scorer, out, store: see `score`.

    Returns:
        the rows with scores; the others are rejects, not done yet.

    Raises:
        RunError: there is no store.
        DataError: nothing at all is finished.
    """
    guard_file(out, "score", [table], [scorer])
    with open_call_session(out, store, UNLIMITED, lambda _: None, partial=True) as session:
        return write_answered(score_by(table, scorer, session), out, session, "score", count_scores)


def count_scores(table: Table) -> dict[str, Any]:
    """Count what `score` did: rows, notes of the scorer, mean and spread of the scores, rejects by reason."""
    step = next(step for step in reversed(table.steps) if step.verb == "score")
    frame = table.read_columns([name for name in table.schema if name.startswith("score")])
    counts: dict[str, Any] = {
        "rows": len(table),
        **{name: note for name, note in step.notes.items() if note is not None},
    }
    for name in frame.columns:
        counts[f"{name} mean"], counts[f"{name} sd"] = frame[name].mean(), frame[name].std()
    if table.spec is PREFERENCE_PAIRS and len(table):
        counts["chosen scores higher"] = (frame["score_chosen"] > frame["score_rejected"]).mean()
    counts["rejected"] = dict(Counter(table.count_rejects()).most_common())
    return counts


def score_by(table: Table, scorer: Scorer, session: CallSession) -> Table:
    """Score a table; a scorer that stores its answers does so in the session's store."""
    if isinstance(scorer, StoredScorer):
        return scorer.score_stored(table, session)
    session.tell(WorkProgress("scores", len(table)))
    scored = scorer.score(table)
    session.tell(WorkProgress("scores", len(table), len(table)))
    return scored
