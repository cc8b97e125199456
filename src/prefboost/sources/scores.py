"""Numbers out of whatever a score column holds."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import polars as pl

from prefboost.sources.faults import nothing_wrong

__all__ = ["MARKED", "RANKED", "as_scores", "choose_score", "known_range", "range_fault"]

NOT_RATED = ("", "n/a", "na", "none", "null", "-", "nan (not rated)")
"""How published data write that a completion was not rated, in lower case."""

BEST_RANK = 8
"""A rank of 1 (best) becomes the score 7, rank 7 becomes 1: Nectar ranks seven completions."""

RANKED = (1.0, BEST_RANK - 1.0)
"""The range of scores that were ranks."""


MARKED = (0.0, 4.0)
MARKED_ASPECTS = frozenset(("helpfulness", "correctness", "coherence", "complexity", "verbosity"))
"""HelpSteer's aspects, all five of which go from 0 to 4; no other collection in use has them all."""


def known_range(parts: Mapping[str, str], aspects: Collection[str], score: str) -> tuple[float, float] | None:
    """The range of scores whose names tell whose they are, None where they do not.

    Args:
        parts: part -> column.
        aspects: their names.
        score: overall, mean or an aspect.
    """
    if "rank" in parts:
        return RANKED
    marked = score != "overall" or parts.get("score") in MARKED_ASPECTS
    return MARKED if marked and set(aspects) >= MARKED_ASPECTS else None


def as_scores(values: pl.Series, *, rank: bool = False) -> tuple[pl.Series, pl.Series]:
    """A column as float64 scores, null where a completion is not rated, and what is wrong with each row.

    Args:
        values: numbers, or text that holds them (``"5"``, ``"N/A"``).
        rank: whether they are ranks, 1 being best; these become ``8 - rank``, so that higher is better.
    """
    dtype = values.dtype
    frame = values.to_frame("s")
    column = pl.col("s")
    if dtype == pl.Null:
        return values.cast(pl.Float64), nothing_wrong(len(values))
    if dtype == pl.String:
        text = column.str.strip_chars()
        rated = pl.when(text.str.to_lowercase().is_in(list(NOT_RATED)).not_()).then(text)
        number = rated.cast(pl.Float64, strict=False)
        wrong = rated.is_not_null() & number.is_null()
    elif dtype.is_numeric():
        # A float32 is read as the decimal it was printed from: 6.62, not 6.619999885559082.
        number = column.cast(pl.Float64).round_sig_figs(7) if dtype == pl.Float32 else column.cast(pl.Float64)
        wrong = pl.lit(False)
    else:
        number, wrong = pl.lit(None, dtype=pl.Float64), column.is_not_null()
    fault = (
        pl.when(wrong)
        .then(pl.lit("is not a number"))
        .when(number.is_finite().not_())
        .then(pl.lit("is not a finite number"))
        .otherwise(pl.lit(None, dtype=pl.String))
    )
    found = frame.with_columns(score=(BEST_RANK - number) if rank else number, fault=fault)
    return found["score"], found["fault"]


def range_fault(frame: pl.DataFrame, column: str, allowed: tuple[float, float] | None) -> pl.Series:
    """A fault where a score lies outside its declared range."""
    if allowed is None:
        return nothing_wrong(frame.height)
    outside = ~pl.col(column).is_between(*allowed)
    fault = pl.when(outside).then(pl.lit(f"is outside the declared range {allowed[0]:g} to {allowed[1]:g}"))
    return frame.select(fault.otherwise(pl.lit(None, dtype=pl.String))).to_series()


def choose_score(frame: pl.DataFrame, score: str, family: str = "score") -> pl.DataFrame:
    """Let ``score`` decide what the score is: ``overall`` as found, ``mean`` of the rated aspects, or an aspect.

    ``family`` is ``score`` for completions, ``score_chosen`` or ``score_rejected`` for pairs.
    """
    if score == "overall":
        return frame
    aspects = [name for name in frame.columns if name.startswith(f"{family}.")]
    if score == "mean":
        return frame.with_columns(pl.mean_horizontal(aspects).alias(family))
    return frame.with_columns(pl.col(f"{family}.{score}").alias(family))
