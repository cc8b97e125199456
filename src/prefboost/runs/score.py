"""`score`: completions or pairs in, the same with scores out; an interrupted run goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from prefboost.runs.generate import rejects_file, write_rejects
from prefboost.scoring.scorer import SCORERS, Scorer, StoredScorer
from prefboost.scoring.stored import Numbers, ScoreJournal, ScoreProgress, Tell
from prefboost.settings import Settings, choice
from prefboost.sources import Columns
from prefboost.sources.file_types import file_type_of
from prefboost.sources.write import write
from prefboost.tables import PREFERENCE_PAIRS, Table

__all__ = ["Score", "counts_of", "score", "write_history"]


class Score(Settings):
    """What is scored, and by what."""

    scorer: Annotated[Scorer, choice(SCORERS)] = Field(description="What gives the scores.")
    columns: Columns = Field(Columns(), description="Columns of the file, where they are not guessed right.")


def score(table: Table, scorer: Scorer, out: str | Path | None = None, *, progress: Tell = lambda _: None) -> Table:
    """Score every completion of a table.

    Args:
        table: Completions, ScoredCompletions (whose scores are replaced) or PreferencePairs.
        scorer: of `prefboost.scoring`, or anyone's.
        out: ``.parquet`` or ``.jsonl`` file to write, with what was done and the fitted scale in ``OUT.score.json`` and
            the rows that were set aside in `rejects_file`. While it is being made ``OUT.journal`` holds what is
            finished: the same call after an interruption goes on from there.
        progress: called after every batch.

    Returns:
        ScoredCompletions or PreferencePairs.

    Raises:
        DataError: the table has no completions, or none of them could be scored.
        ModelError: a model cannot be loaded.
        RunError: another process is writing the same output.
    """
    if out is None:
        return _scored(table, scorer, None, progress)
    target = Path(out)
    file_type_of(target)
    with ScoreJournal(target.with_name(f"{target.name}.journal"), Numbers) as journal:
        scored = write(_scored(table, scorer, journal, progress), target)
        write_rejects(scored.rejects, rejects_file(target))
        write_history(scored, target.with_name(f"{target.name}.score.json"), counts_of(scored))
        journal.delete()
    return scored


def counts_of(table: Table) -> dict[str, Any]:
    """What `score` did: rows, notes of the scorer, mean and spread of the scores, rows set aside by reason."""
    step = next(step for step in reversed(table.steps) if step.verb == "score")
    frame = table.frame
    counts: dict[str, Any] = {
        "rows": len(table),
        **{name: note for name, note in step.notes.items() if note is not None},
    }
    for name in (name for name in frame.columns if name.startswith("score")):
        counts[f"{name} mean"], counts[f"{name} sd"] = frame[name].mean(), frame[name].std()
    if table.spec is PREFERENCE_PAIRS and len(table):
        counts["chosen scores higher"] = (frame["score_chosen"] > frame["score_rejected"]).mean()
    counts["rejected"] = dict(table.rejects["reason"].value_counts(sort=True).iter_rows())
    return counts


def _scored(table: Table, scorer: Scorer, journal: ScoreJournal | None, progress: Tell) -> Table:
    if isinstance(scorer, StoredScorer):
        return scorer.score_stored(table, journal, progress)
    progress(ScoreProgress("scores", len(table)))
    scored = scorer.score(table)
    progress(ScoreProgress("scores", len(table), len(table)))
    return scored


def write_history(table: Table, path: Path, counts: Mapping[str, Any]) -> None:
    """Write what was done to a table beside it: its steps, its scales, and counts."""
    steps: list[Mapping[str, Any]] = [
        {"verb": step.verb, "settings": dict(step.settings), "rows_in": step.rows_in, "rows_out": step.rows_out,
         "rejected": dict(step.rejected), "notes": dict(step.notes)}
        for step in table.steps
    ]  # fmt: skip
    scales = {name: scale.model_dump(mode="json") for name, scale in table.scales.items()}
    waiting = path.with_name(f".{path.name}.partial")
    text = json.dumps({"steps": steps, "scales": scales, **counts}, indent=2, ensure_ascii=False, default=str)
    waiting.write_text(text + "\n", encoding="utf-8")
    waiting.replace(path)
