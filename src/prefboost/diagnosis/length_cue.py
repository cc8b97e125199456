"""How well length alone tells which completion is better."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from prefboost.statistics import spearman_within

__all__ = ["LengthCue", "length_cue"]

_MOST_PROMPTS = 5_000


class LengthCue(NamedTuple):
    """How the better completion of a pair differs in length.

    Args:
        share: of the decided pairs, those in which the longer completion is the better one; None without such pairs.
        decided: pairs whose completions differ in length and in score (in label, where there are no scores).
        rho: mean over prompts of Spearman's rank correlation of score and characters; None where nothing is ranked.
        prompts: how many prompts rho is the mean of, at most 5,000, drawn by their hash.
    """

    share: float | None
    decided: int
    rho: float | None
    prompts: int


def length_cue(frame: pl.DataFrame) -> LengthCue:
    """Measure rows of `prefboost.diagnosis.slim.slim`.

    Pairs are compared as they stand, by their scores or, where they have none, by their label. Scored completions are
    compared in a hashed order, each with the next of its prompt.
    """
    if "chosen_chars" in frame.columns:
        compared, scored = _pairs(frame)
    elif "score" in frame.columns:
        compared, scored = _neighbours(frame)
    else:
        return LengthCue(None, 0, None, 0)
    decided = compared.filter((pl.col("score") != 0) & (pl.col("chars") != 0))
    share = decided.select(((pl.col("score") > 0) == (pl.col("chars") > 0)).mean()).item()
    drawn = scored["prompt_hash"].unique().bottom_k(_MOST_PROMPTS)
    few = scored.filter(pl.col("prompt_hash").is_in(drawn.implode()))
    if few.is_empty():
        return LengthCue(share, decided.height, None, 0)
    rho = spearman_within(few["score"].to_numpy(), few["chars"].to_numpy(), few["prompt_hash"].to_numpy())
    return LengthCue(share, decided.height, rho.mean if rho.groups else None, rho.groups)


def _pairs(frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    known = _finite(frame, "score_chosen", "score_rejected")
    chars = pl.col("chosen_chars").cast(pl.Int64) - pl.col("rejected_chars").cast(pl.Int64)
    if known.is_empty():
        return frame.select(score=pl.lit(1.0), chars=chars), _sides(known)
    return known.select(score=pl.col("score_chosen") - pl.col("score_rejected"), chars=chars), _sides(known)


def _sides(pairs: pl.DataFrame) -> pl.DataFrame:
    """Every completion of the pairs once a prompt."""
    sides = [
        pairs.select("prompt_hash", score=f"score_{side}", chars=f"{side}_chars", text=f"{side}_hash")
        for side in ("chosen", "rejected")
    ]
    return pl.concat(sides).unique(["prompt_hash", "text"], keep="first", maintain_order=True)


def _neighbours(frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    known = _finite(frame, "score").sort("completion_hash").rename({"completion_chars": "chars"})
    change = [pl.col(name).cast(pl.Float64).diff().over("prompt_hash").alias(name) for name in ("score", "chars")]
    return known.select(change), known.select("prompt_hash", "score", "chars")


def _finite(frame: pl.DataFrame, *scores: str) -> pl.DataFrame:
    return frame.filter(pl.all_horizontal(pl.col(name).is_finite().fill_null(False) for name in scores))
