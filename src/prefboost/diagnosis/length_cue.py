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
        compared, scored = _pairs(frame), _sides(_drawn(_finite(frame, "score_chosen", "score_rejected")))
    elif "score" in frame.columns:
        known = _finite(frame, "score")
        compared, scored = _neighbours(known), _drawn(known).rename({"completion_chars": "chars"})
    else:
        return LengthCue(None, 0, None, 0)
    decided = compared.select(differ=(pl.col("score") != 0) & (pl.col("chars") != 0),
                              longer=(pl.col("score") > 0) == (pl.col("chars") > 0))  # fmt: skip
    share, count = decided.select(pl.col("longer").filter("differ").mean(), pl.col("differ").sum()).row(0)
    if scored.is_empty():
        return LengthCue(share, int(count), None, 0)
    rho = spearman_within(scored["score"].to_numpy(), scored["chars"].to_numpy(), scored["prompt_hash"].to_numpy())
    return LengthCue(share, int(count), rho.mean if rho.groups else None, rho.groups)


def _drawn(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows of at most 5,000 prompts."""
    drawn = frame["prompt_hash"].unique().bottom_k(_MOST_PROMPTS)
    return frame.filter(pl.col("prompt_hash").is_in(drawn.implode()))


def _pairs(frame: pl.DataFrame) -> pl.DataFrame:
    known = _finite(frame, "score_chosen", "score_rejected")
    chars = pl.col("chosen_chars").cast(pl.Int64) - pl.col("rejected_chars").cast(pl.Int64)
    if known.is_empty():
        return frame.select(score=pl.lit(1.0), chars=chars)
    return known.select(score=pl.col("score_chosen") - pl.col("score_rejected"), chars=chars)


def _sides(pairs: pl.DataFrame) -> pl.DataFrame:
    """Every completion of the pairs once a prompt."""
    sides = [
        pairs.select("prompt_hash", score=f"score_{side}", chars=f"{side}_chars", text=f"{side}_hash")
        for side in ("chosen", "rejected")
    ]
    return pl.concat(sides).unique(["prompt_hash", "text"], keep="first", maintain_order=True)


def _neighbours(known: pl.DataFrame) -> pl.DataFrame:
    ordered = known.select("prompt_hash", "completion_hash", "score", chars="completion_chars").sort("completion_hash")
    return ordered.select(pl.col(name).cast(pl.Float64).diff().over("prompt_hash") for name in ("score", "chars"))


def _finite(frame: pl.DataFrame, *scores: str) -> pl.DataFrame:
    known = frame.select(pl.all_horizontal(pl.col(name).is_finite().fill_null(False) for name in scores)).to_series()
    return frame if known.all() else frame.filter(known)
