"""Length as a cue: how well length alone predicts which completion is better."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from prefboost.statistics import spearman_within

__all__ = ["LengthCue", "measure_length_cue"]

_MOST_PROMPTS = 5_000


class LengthCue(NamedTuple):
    """Relation of quality and length.

    Args:
        share: share of decided pairs in which the longer completion is the better one; None without such pairs.
        decided: pairs whose completions differ in length and in score (in label, where there are no scores).
        rho: mean over prompts of Spearman's rank correlation of score and characters; None where nothing is ranked.
        prompts: prompts that rho is the mean of, at most 5,000, drawn by their hash.
    """

    share: float | None
    decided: int
    rho: float | None
    prompts: int


def measure_length_cue(frame: pl.DataFrame) -> LengthCue:
    """Measure the cue in rows of `prefboost.diagnosis.row_digest.digest_rows`.

    Pairs are compared as they stand, by their scores or, where they have none, by their label. Scored completions are
    compared in a hashed order, each with the next of its prompt.
    """
    if "chosen_chars" in frame.columns:
        pairs = _select_finite(frame, "score_chosen", "score_rejected")
        chars = pl.col("chosen_chars").cast(pl.Int64) - pl.col("rejected_chars").cast(pl.Int64)
        compared = (
            frame.select(score=pl.lit(1.0), chars=chars)
            if pairs.is_empty()
            else pairs.select(score=pl.col("score_chosen") - pl.col("score_rejected"), chars=chars)
        )
        drawn = _draw_prompts(pairs)
        sides = [
            drawn.select("prompt_hash", score=f"score_{side}", chars=f"{side}_chars", text=f"{side}_hash")
            for side in ("chosen", "rejected")
        ]
        # Pairs of a prompt share completions; each counts once.
        scored = pl.concat(sides).unique(["prompt_hash", "text"], keep="first", maintain_order=True)
    elif "score" in frame.columns:
        finite = _select_finite(frame, "score")
        # Neighbours in the order of hashes are a random pairing that a second run repeats.
        ordered = finite.select("prompt_hash", "completion_hash", "score", chars="completion_chars")
        compared = ordered.sort("completion_hash").select(
            pl.col(name).cast(pl.Float64).diff().over("prompt_hash") for name in ("score", "chars")
        )
        scored = _draw_prompts(finite).rename({"completion_chars": "chars"})
    else:
        return LengthCue(None, 0, None, 0)
    decided = compared.select(differ=(pl.col("score") != 0) & (pl.col("chars") != 0),
                              longer_wins=(pl.col("score") > 0) == (pl.col("chars") > 0))  # fmt: skip
    share, count = decided.select(pl.col("longer_wins").filter("differ").mean(), pl.col("differ").sum()).row(0)
    if scored.is_empty():
        return LengthCue(share, int(count), None, 0)
    rho = spearman_within(scored["score"].to_numpy(), scored["chars"].to_numpy(), scored["prompt_hash"].to_numpy())
    return LengthCue(share, int(count), rho.mean if rho.groups else None, rho.groups)


def _draw_prompts(frame: pl.DataFrame) -> pl.DataFrame:
    """Select the rows of at most 5,000 prompts."""
    # The smallest hashes are a sample that depends on the texts alone, not on a seed or the order of rows.
    prompts = frame["prompt_hash"].unique().bottom_k(_MOST_PROMPTS)
    return frame.filter(pl.col("prompt_hash").is_in(prompts.implode()))


def _select_finite(frame: pl.DataFrame, *scores: str) -> pl.DataFrame:
    is_finite = frame.select(
        pl.all_horizontal(pl.col(name).is_finite().fill_null(False) for name in scores)
    ).to_series()
    return frame if is_finite.all() else frame.filter(is_finite)
