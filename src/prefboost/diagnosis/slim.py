"""What is remembered of each row while a file streams by: ids, hashes, lengths and scores, never the texts."""

from __future__ import annotations

import polars as pl

from prefboost.preferences.ngrams import normalised
from prefboost.tables import Table, aspects_of

__all__ = ["SIDES", "slim"]

SIDES = ("completion", "chosen", "rejected")


def _text(column: str) -> pl.Expr:
    return pl.col(column).list.eval(pl.element().struct.field("content")).list.join("\n")


def slim(table: Table) -> pl.DataFrame:
    """One row a row of the table, about a hundred bytes each.

    Returns:
        row, prompt_id, prompt (UInt64 hash of its normalised text), split and source where known; for each side
        ``hash``, ``chars``, ``words``; every score column. Names: ``chosen_chars`` etc.
    """
    columns = table.frame.columns
    sides = [side for side in SIDES if side in columns]
    measured = {
        "prompt_hash": normalised(_text("prompt")).hash(0),
        "prompt_chars": _text("prompt").str.len_chars(),
    }
    for side in sides:
        measured[f"{side}_hash"] = _text(side).hash(0)
        measured[f"{side}_chars"] = _text(side).str.strip_chars().str.len_chars()
        measured[f"{side}_words"] = _text(side).str.count_matches(r"\S+")
    families = [name for name in ("score", "score_chosen", "score_rejected") if name in columns]
    scores = families + [f"{name}.{aspect}" for name in families for aspect in aspects_of(table.frame.schema, name)]
    known = [name for name in ("row", "prompt_id", "split", "source") if name in columns]
    return table.frame.select(*known, *scores, **measured)
