"""Diagnoses of plain runs that can be made at little cost, before their page is written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from prefboost.diagnosis.unlearning import DiagnoseUnlearning
from prefboost.preferences.draw import draw_rank
from prefboost.progress import Tell
from prefboost.runs.diagnose.unlearning import diagnose_unlearning
from prefboost.runs.pipelines.goal_pairs import PAIRS
from prefboost.runs.report.sources import is_at_work, list_trainings
from prefboost.tables import PREFERENCE_PAIRS, SCORED_COMPLETIONS, Table, conform
from prefboost.training.claim import MANIFEST, MODEL

__all__ = ["UndiagnosedTraining", "diagnose_trainings", "draw_trained_rows", "list_undiagnosed"]

MOST_ROWS = 100
"""Rows that are measured of each training: two passes over their texts, about a minute for a small model on a CPU."""

_SEED = 20261129


def diagnose_trainings(paths: Sequence[str | Path], progress: Tell = lambda _: None) -> list[Path]:
    """Measure what every training of a run unlearned, on a draw of the pairs that it trained on.

    Args:
        paths: of a report; folders of ``train`` and ``run`` are diagnosed. Others are left alone, and so are runs at
            work and trainings whose diagnosis is there.
        progress: called after every batch.

    Returns:
        the files that were written into the run folders, where `report` finds them.

    Raises:
        ModelError: a model cannot be loaded.
    """
    written = []
    for each in list_undiagnosed([Path(path) for path in paths]):
        rows = draw_trained_rows(pl.read_parquet(each.training / PAIRS), MOST_ROWS)
        # Goals stand in these prompts, as they stood in training: the template is told to add none.
        how = DiagnoseUnlearning(start=each.start, models=(str(each.training / MODEL),), goal="none")
        diagnose_unlearning(rows, how, each.out, progress=progress)
        written.append(each.out)
    return written


@dataclass(frozen=True)
class UndiagnosedTraining:
    """A training whose folder holds all that its diagnosis takes.

    Args:
        run: the run folder.
        training: the folder in it with the pairs and the policy.
        start: the model that training began with.
        out: the file that the diagnosis belongs into.
    """

    run: Path
    training: Path
    start: str
    out: Path


def list_undiagnosed(paths: Sequence[Path]) -> Iterator[UndiagnosedTraining]:
    """List the trainings of plain runs that can be diagnosed and are not, in the order of the paths."""
    for path in paths:
        manifest = path / MANIFEST
        if not manifest.is_file() or is_at_work(path):
            continue
        settings = json.loads(manifest.read_text(encoding="utf-8")).get("settings", {})
        start = (settings.get("train") or {}).get("model")
        for label, folder in list_trainings(path):
            out = path / f"unlearning{f'-{label}' if label else ''}.json".replace(" ", "-")
            if start is not None and (folder / PAIRS).is_file() and (folder / MODEL).is_dir() and not out.exists():
                yield UndiagnosedTraining(path, folder, start, out)


def draw_trained_rows(pairs: pl.DataFrame, most: int) -> Table:
    """Draw rows of goal pairs as a table whose completions are asked for as they were trained.

    Args:
        pairs: GoalPairs after `condition`.
        most: rows.

    Returns:
        PreferencePairs where no goal is asked for. Else ScoredCompletions: of every view the completion that wins under
        its goal, so that both completions of a pair are there, each under its own score.
    """
    rows = pairs.with_columns(_rank=draw_rank(_SEED, "goal_pair_id")).sort("_rank")
    if rows["goal"].is_null().all():
        once = rows.unique("pair_id", keep="first", maintain_order=True).head(most)
        return Table(PREFERENCE_PAIRS, conform(once, PREFERENCE_PAIRS))
    won = rows.drop_nulls("goal").select(
        "row", "prompt_id", "prompt", completion_id="goal_pair_id", completion="chosen", score="score_chosen"
    )
    return Table(SCORED_COMPLETIONS, conform(won.head(most), SCORED_COMPLETIONS))
