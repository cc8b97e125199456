"""Digests of rows while a file streams by: hashes, lengths and scores, never the texts."""

from __future__ import annotations

import polars as pl

from prefboost.diagnosis.goal_lints import find_goals_read_alike
from prefboost.preferences.likeness import count_text_words, join_contents, normalise_words
from prefboost.sources.messages.encoded import find_encoded_rows
from prefboost.tables import GOAL_PAIRS, TABLES, Table, aspects_of

__all__ = ["COMPLETION_COLUMNS", "list_score_columns", "digest_rows"]

COMPLETION_COLUMNS = ("completion", "chosen", "rejected")

_FACTS = pl.Enum(sorted({fact.sentence for spec in TABLES.values() for fact in spec.facts}))
"""One byte per row instead of a sentence."""


def list_score_columns(columns: list[str]) -> list[str]:
    """List the score columns: overall first, then aspects as ``score.aspect``."""
    families = [name for name in ("score", "score_chosen", "score_rejected") if name in columns]
    return families + [f"{name}.{aspect}" for name in families for aspect in aspects_of(columns, name)]


def digest_rows(table: Table) -> pl.DataFrame:
    """Digest a table: one row of about a hundred bytes per row (64-bit hashes stand for texts and ids).

    Returns:
        ``row``, ``split``; ``prompt_key`` (of the prompt; of goal pairs, of its id), ``prompt_hash`` (of the normalised
        text); ``chars``, ``words`` (UInt32) of the prompt and each side, ``hash`` of each side, named
        ``chosen_chars`` etc.; every score column; ``broken``, the first fact of the table that the row breaks, null
        where all hold; ``encoded``, whether a text looks like an encoded conversation. Of goal pairs also goal, view,
        flipped, ``exact_prompt`` (hash of the prompt exactly as it stands),
        ``pair_key``, ``goal_pair_key``, ``goal_key`` (hash of the whole goal) and ``alike`` (`find_goals_read_alike`).
    """
    columns = table.frame.columns
    # Joined once: each measure of a text would join its messages anew.
    sides = [side for side in COMPLETION_COLUMNS if side in columns]
    texts = table.frame.select(join_contents(name).str.strip_chars() for name in ("prompt", *sides))
    words = count_text_words(texts)
    # 64-bit hashes: among a million texts two different ones share a hash with probability 3e-8.
    measured: dict[str, pl.Expr | pl.Series] = {
        # Splits are read apart, so that ids may restart; the prompts of goal pairs differ by their goals.
        "prompt_key": pl.col("prompt_id" if table.spec is GOAL_PAIRS else "prompt").hash(0),
        "prompt_hash": normalise_words(pl.lit(texts["prompt"])).hash(0),
        "prompt_chars": pl.lit(texts["prompt"]).str.len_chars(),
        "prompt_words": words["prompt"],
        # The first fact that a row breaks.
        "broken": pl.coalesce(
            *(
                pl.when(fact.holds(table.frame.schema).fill_null(True).not_()).then(pl.lit(fact.sentence))
                for fact in table.spec.facts
            ),
            pl.lit(None, dtype=pl.String),
        ).cast(_FACTS),
        "encoded": pl.any_horizontal(pl.lit(find_encoded_rows(table.frame[name])) for name in ("prompt", *sides)),
    }
    for side in sides:
        text = pl.lit(texts[side])
        measured |= {f"{side}_hash": text.hash(0), f"{side}_chars": text.str.len_chars(), f"{side}_words": words[side]}
    columns_as_read: list[str] = [name for name in ("row", "split") if name in columns]
    if table.spec is GOAL_PAIRS:
        columns_as_read += ["goal", "view", "flipped"]
        goals = ["goal", *(f"goal.{aspect}" for aspect in aspects_of(columns, "goal"))]
        measured |= {"exact_prompt": pl.col("prompt").hash(0), "goal_key": pl.struct(goals).hash(0)}
        measured |= {"pair_key": pl.col("pair_id").hash(0), "goal_pair_key": pl.col("goal_pair_id").hash(0)}
        prompts = {"exact_prompt": pl.col("prompt").hash(0), "text": join_contents("prompt")}
        measured["alike"] = pl.lit(find_goals_read_alike(table.frame.select("pair_id", *goals, **prompts)))
    return table.frame.select(*columns_as_read, *list_score_columns(columns), **measured)
