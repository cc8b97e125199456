"""Hand-built and random tables for the tests of this layer."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
from hypothesis import strategies as st

from prefboost.tables import (
    MESSAGES,
    PREFERENCE_PAIRS,
    SCORED_COMPLETIONS,
    RowPieces,
    StoredTable,
    Table,
    conform,
)


def said(role: str, content: str) -> dict[str, str | None]:
    return {"role": role, "content": content, "extra": None}


def scored_table(
    prompts: Sequence[tuple[str, Sequence[float | None]]], aspects: dict[str, list[float | None]] | None = None
) -> Table:
    rows = []
    for prompt_id, scores in prompts:
        for position, score in enumerate(scores):
            rows.append(
                {
                    "row": len(rows),
                    "prompt_id": prompt_id,
                    "prompt": [said("user", f"question {prompt_id}")],
                    "completion_id": f"{prompt_id}/{position}",
                    "completion": [said("assistant", f"answer {position} to {prompt_id}")],
                    "score": score,
                }
            )
    schema = {
        "row": pl.Int64,
        "prompt_id": pl.String,
        "prompt": MESSAGES,
        "completion_id": pl.String,
        "completion": MESSAGES,
        "score": pl.Float64,
    }
    frame = pl.DataFrame(rows, schema=schema)
    for name, values in (aspects or {}).items():
        frame = frame.with_columns(pl.Series(f"score.{name}", values, dtype=pl.Float64))
    return Table(SCORED_COMPLETIONS, conform(frame, SCORED_COMPLETIONS))


def pair_table(
    scores: Sequence[tuple[float | None, float | None]], prompt: list[dict[str, str | None]] | None = None
) -> Table:
    rows = [
        {
            "row": row,
            "pair_id": f"p{row}/0",
            "prompt_id": f"p{row}",
            "prompt": prompt or [said("user", f"question {row}")],
            "chosen": [said("assistant", f"good {row}")],
            "rejected": [said("assistant", f"bad {row}")],
            "score_chosen": high,
            "score_rejected": low,
        }
        for row, (high, low) in enumerate(scores)
    ]
    schema = {
        "row": pl.Int64,
        "pair_id": pl.String,
        "prompt_id": pl.String,
        "prompt": MESSAGES,
        "chosen": MESSAGES,
        "rejected": MESSAGES,
        "score_chosen": pl.Float64,
        "score_rejected": pl.Float64,
    }
    return Table(PREFERENCE_PAIRS, conform(pl.DataFrame(rows, schema=schema), PREFERENCE_PAIRS))


scores = st.one_of(st.none(), st.integers(1, 10).map(float), st.floats(1, 10).map(lambda x: round(x, 2)))
prompt_scores = st.lists(st.lists(scores, min_size=1, max_size=6), min_size=1, max_size=8).map(
    lambda lists: [(f"q{number}", found) for number, found in enumerate(lists)]
)
pair_scores = st.lists(st.tuples(scores, scores), min_size=1, max_size=12)


def store_in_pieces(table: Table, heights: Sequence[int]) -> StoredTable:
    """Cut a table into pieces of these heights."""
    starts = [sum(heights[:at]) for at in range(len(heights))]

    def read_piece(at: int, columns: Sequence[str] | None) -> pl.DataFrame:
        frame = table.frame[starts[at] : starts[at] + heights[at]]
        return frame if columns is None else frame.select(columns)

    pieces = RowPieces(table.schema, heights, read_piece)
    return StoredTable(table.spec, pieces, table.rejects, table.steps, table.scales, table.path)


def cut_evenly(table: Table, rows: int) -> StoredTable:
    """Cut a table into pieces of so many rows."""
    return store_in_pieces(table, [min(rows, len(table) - start) for start in range(0, len(table), rows)])


def assert_same_table(one: Table, other: Table) -> None:
    """Compare rows, rejects in their order, and history."""
    assert one.frame.equals(other.frame) and one.rejects.equals(other.rejects) and one.steps == other.steps
