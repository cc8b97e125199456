"""Tables between two stages of a run: rows, rows set aside, history and scales, written and taken up again."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl

from prefboost.atomic import replace_atomically
from prefboost.engines.budget import UNLIMITED, Spending
from prefboost.preferences import FittedScale
from prefboost.progress import Tell
from prefboost.runs.outputs import locate_rejects, write_history, write_rejects
from prefboost.runs.score.questions import open_call_session
from prefboost.runs.score.score import score_by
from prefboost.scoring.scorer import Scorer
from prefboost.tables import Table, TableSpec, conform

__all__ = ["write_table", "score_table", "load_table", "list_table_files"]


def write_table(table: Table, path: Path) -> dict[str, Any]:
    """Write a table; a reader sees the old files or the new ones, never half.

    Args:
        table: its own rejects and steps are written beside it.
        path: ``.parquet``.

    Returns:
        counts worth noting: rows, prompts, and what was set aside, by reason.
    """
    with replace_atomically(path) as waiting:
        table.frame.rechunk().write_parquet(waiting)
    # Counted in the order of the file, whoever found them.
    rejects = table.rejects.sort("row", maintain_order=True)
    write_rejects(rejects, locate_rejects(path))
    counts = {
        "rows": len(table),
        "prompts": table.frame["prompt_id"].n_unique(),
        "rejected": dict(Counter(rejects["reason"].to_list())),
    }
    write_history(table, _locate_history(path), counts)
    return counts


def score_table(
    table: Table,
    scorer: Scorer,
    path: Path,
    progress: Tell,
    *,
    spending: Spending = UNLIMITED,
    store: Path | None = None,
) -> tuple[Table, dict[str, Any]]:
    """Score a table and write it (`write_table`); what is finished stands in a store, so that a kill loses little.

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
    with open_call_session(path, store, spending, progress) as session:
        scored = score_by(table, scorer, session)
    return scored, write_table(scored, path)


def load_table(path: Path, spec: TableSpec) -> Table:
    """Load a table that `write_table` wrote, with its scales; rejects and steps stay in the files beside it."""
    scales = json.loads(_locate_history(path).read_text(encoding="utf-8"))["scales"]
    fitted = {name: FittedScale(**scale) for name, scale in scales.items()}
    return Table(spec, conform(pl.read_parquet(path), spec, path=str(path)), scales=fitted, path=str(path))


def list_table_files(name: str) -> tuple[str, ...]:
    """List the files that are always there once a table is written under this name."""
    return name, f"{name}.json"


def _locate_history(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")
