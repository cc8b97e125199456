"""Turn drafts into a table of completions that scorers take, and read the scores back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from prefboost.engines.kinds import model_name
from prefboost.scoring.rater import Rater
from prefboost.scoring.rubric import load_rubric
from prefboost.scoring.scorer import Scorer
from prefboost.settings import kind_of
from prefboost.synthesis.proposal import Draft, PromptItem
from prefboost.tables import COMPLETIONS, MESSAGES, Table, aspects_of, conform

__all__ = ["build_completions_table", "mark_unscored", "read_score_faults", "name_scorer", "read_scores"]


def build_completions_table(items: Sequence[PromptItem], drafts: Sequence[Sequence[Draft]]) -> Table:
    """Build a Completion of every usable draft; ``completion_id`` is PROMPT_ID/NUMBER."""
    rows: list[dict[str, Any]] = [
        {
            "row": item.row,
            "prompt_id": item.prompt_id,
            "prompt": [dict(message) for message in item.prompt],
            "completion_id": f"{item.prompt_id}/{number}",
            "completion": [{"role": "assistant", "content": draft.text, "extra": None}],
            "model": draft.model,
            "finish_reason": draft.finish_reason,
        }
        for item, drafts_of_item in zip(items, drafts, strict=True)
        for number, draft in enumerate(drafts_of_item)
        if draft.fault is None and draft.text
    ]
    named = {column.name: column.dtype for column in COMPLETIONS.columns}
    names = ("row", "prompt_id", "prompt", "completion_id", "completion", "model", "finish_reason")
    frame = pl.DataFrame(rows, schema={name: named[name] for name in names}, schema_overrides={"prompt": MESSAGES})
    return Table(COMPLETIONS, conform(frame, COMPLETIONS))


def read_scores(table: Table) -> dict[tuple[str, int], Mapping[str, float | None]]:
    """Read scores: (prompt_id, number) -> head -> score; "" is the overall score; unscored drafts are absent."""
    aspects = aspects_of(table.frame.schema, "score")
    columns = {"": "score", **{aspect: f"score.{aspect}" for aspect in aspects}}
    scores: dict[tuple[str, int], Mapping[str, float | None]] = {}
    for row in table.frame.select("prompt_id", "completion_id", *columns.values()).iter_rows(named=True):
        number = int(row["completion_id"].rpartition("/")[2])
        scores[row["prompt_id"], number] = {head: row[column] for head, column in columns.items()}
    return scores


def read_score_faults(table: Table) -> dict[tuple[str, int], tuple[str, str]]:
    """Read faults: (prompt_id, number) -> why the scorer gave no score, and what it found."""
    rows = table.rejects.filter(pl.col("stage") == "score").select("id", "reason", "found").iter_rows()
    named = [(str(name).rpartition("/"), reason, detail) for name, reason, detail in rows]
    return {
        (name, int(number)): (f"no score: {reason}", detail or "")
        for (name, _, number), reason, detail in named
        if number.isdigit()
    }


def mark_unscored(items: Sequence[PromptItem], drafts: Sequence[Sequence[Draft]], scored: Table) -> list[list[Draft]]:
    """Give every usable draft without a score the scorer's fault."""
    faults = read_score_faults(scored)
    return [
        [
            replace(draft, fault=draft.fault or faults.get((item.prompt_id, at)))
            for at, draft in enumerate(drafts_of_item)
        ]
        for item, drafts_of_item in zip(items, drafts, strict=True)
    ]


def name_scorer(scorer: Scorer) -> str:
    """Name the scorer for the lineage: the model, or the kind; of a rater also the rubric's name and hash."""
    if isinstance(scorer, Rater):
        return f"{kind_of(scorer)}/{model_name(scorer.engine)}/{load_rubric(scorer.rubric).identity}"
    return str(getattr(scorer, "model", None) or getattr(scorer, "path", None) or kind_of(scorer))
