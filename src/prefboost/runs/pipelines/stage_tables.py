"""Tables between two stages of a run: rows, rows set aside, history and scales, written and taken up again."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl

from prefboost.atomic import replacing
from prefboost.engines.budget import UNLIMITED, Spending
from prefboost.preferences import FittedScale
from prefboost.runs.generate.generate import rejects_file, write_rejects
from prefboost.runs.score.questions import desk_at
from prefboost.runs.score.score import scored_by, write_history
from prefboost.scoring.scorer import Scorer
from prefboost.scoring.stored import Tell
from prefboost.tables import Table, TableSpec, conform

__all__ = ["keep", "keep_scored", "kept", "kept_files"]


def keep(table: Table, path: Path) -> dict[str, Any]:
    """Write a table; a reader sees the old files or the new ones, never half.

    Args:
        table: its own rejects and steps are written beside it.
        path: ``.parquet``.

    Returns:
        counts worth noting: rows, prompts, and what was set aside, by reason.
    """
    with replacing(path) as waiting:
        table.frame.write_parquet(waiting)
    write_rejects(table.rejects, rejects_file(path))
    counts = {
        "rows": len(table),
        "prompts": table.frame["prompt_id"].n_unique(),
        "rejected": dict(Counter(table.rejects["reason"].to_list())),
    }
    write_history(table, _history(path), counts)
    return counts


def keep_scored(
    table: Table,
    scorer: Scorer,
    path: Path,
    progress: Tell,
    *,
    spending: Spending = UNLIMITED,
    store: Path | None = None,
) -> tuple[Table, dict[str, Any]]:
    """Score a table and `keep` it; what is finished stands in a store, so that a kill loses little.

    Args:
        table: completions or pairs.
        scorer: what gives the scores.
        path: ``.parquet``.
        progress: is told.
        spending: budget and prices of the model that the scorer asks, over all calls that share the store.
        store: the folder of the store; None: the one beside ``path``.

    Returns:
        the scored table, and counts.

    Raises:
        RunError: the budget is spent before all is done; what is done stays in the store.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with desk_at(path, store, spending, progress) as desk:
        scored = scored_by(table, scorer, desk)
    return scored, keep(scored, path)


def kept(path: Path, spec: TableSpec) -> Table:
    """What `keep` wrote, with its scales, and without the rejects and steps, which stay where they were noted."""
    scales = json.loads(_history(path).read_text(encoding="utf-8"))["scales"]
    fitted = {name: FittedScale(**scale) for name, scale in scales.items()}
    return Table(spec, conform(pl.read_parquet(path), spec, path=str(path)), scales=fitted, path=str(path))


def kept_files(name: str) -> tuple[str, ...]:
    """Names of the files that are always there once a table is kept under this name."""
    return name, f"{name}.json"


def _history(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")
