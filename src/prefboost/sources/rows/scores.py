"""Numbers out of whatever a score column holds."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import polars as pl

from prefboost.sources.layouts.layout import Layout
from prefboost.sources.layouts.score_columns import write_plainly
from prefboost.sources.readers.raw import Reader
from prefboost.sources.rows.faults import build_no_faults
from prefboost.sources.rows.parts import find_holder, read_inner_values

__all__ = [
    "LOW_MEAN",
    "MARKED",
    "RANKS",
    "TEN_FOR_ONE",
    "choose_score",
    "contradicts_range",
    "count_tens_for_ones",
    "find_range_faults",
    "find_rank_ends",
    "find_tens_for_ones",
    "get_rank_score_range",
    "guess_score_range",
    "is_named_range_possible",
    "parse_scores",
]

NOT_RATED = ("", "n/a", "na", "none", "null", "-", "nan (not rated)")
"""Spellings of "not rated" in published data, in lower case."""

POINTED = "has a point, which may part thousands, since the first ones have decimal commas: write decimals with a comma"

SCORES = ("score", "score_chosen", "score_rejected")

RANKS = (1.0, 7.0)
"""Best and worst rank where a source does not tell: Nectar ranks seven completions."""


MARKED = (0.0, 4.0)
MARKED_ASPECTS = frozenset(("helpfulness", "correctness", "coherence", "complexity", "verbosity"))
"""HelpSteer's aspects, all five of which go from 0 to 4; no other collection in use has them all."""


def guess_score_range(parts: Mapping[str, str], aspects: Collection[str], score: str) -> tuple[float, float] | None:
    """Guess the range of scores from the names of columns; None where they do not tell.

    Args:
        parts: part -> column.
        aspects: their names.
        score: overall, mean or an aspect.
    """
    if "rank" in parts:
        return get_rank_score_range(RANKS)
    marked = score != "overall" or parts.get("score") in MARKED_ASPECTS
    return MARKED if marked and set(aspects) >= MARKED_ASPECTS else None


def is_named_range_possible(columns: Collection[str]) -> bool:
    """Tell whether converted rows have the aspects by whose names alone `guess_score_range` may tell the range."""
    return any({name.removeprefix(f"{family}.") for name in columns} >= MARKED_ASPECTS for family in SCORES)


def contradicts_range(frames: Sequence[pl.DataFrame], limits: tuple[float, float]) -> bool:
    """Tell whether more than one in twenty scores lies outside a range that only the names of columns tell."""
    scores = pl.concat(
        [frame[name].rename("score") for frame in frames for name in SCORES if name in frame.columns]
        or [pl.Series("score", [], dtype=pl.Float64)]
    ).drop_nulls()
    # Few scores outside are faults of the data; many show that the range was guessed wrongly.
    outside = scores.len() - int(scores.is_between(*limits).sum())
    return outside * 20 > scores.len()


TEN_FOR_ONE = "overall scores of 10 that contradict their aspects"
"""Note of the step ``read``: how many UltraFeedback-like scores are most likely a 1 that was read as 10."""

LOW_MEAN = 2.0
"""An overall score of 10 beside aspects that average no more than this is a 1 read as 10 (2,628 completions)."""

_ANNOTATED = {"honesty", "truthfulness", "instruction_following"}


def find_tens_for_ones(columns: Collection[str], family: str = "score") -> pl.Expr:
    """Find overall scores of 10 beside UltraFeedback's aspects (1 to 5) that say the completion is the worst.

    Args:
        columns: of the rows.
        family: score, score_chosen or score_rejected.
    """
    aspects = [name for name in columns if name.startswith(f"{family}.")]
    if family not in columns or len(_ANNOTATED & {name.removeprefix(f"{family}.") for name in aspects}) < 2:
        return pl.lit(False)
    return ((pl.col(family) == 10) & (pl.mean_horizontal(aspects) <= LOW_MEAN)).fill_null(False)


def count_tens_for_ones(frame: pl.DataFrame) -> dict[str, int]:
    """Count scores for the note `TEN_FOR_ONE`, in the rows that stay; empty for none."""
    doubted = [
        frame.select(find_tens_for_ones(frame.columns, family).sum()).item()
        for family in SCORES
        if family in frame.columns
    ]
    count = sum(int(each or 0) for each in doubted)
    return {TEN_FOR_ONE: count} if count else {}


def get_rank_score_range(ranks: tuple[float, float]) -> tuple[float, float]:
    """Return the range of scores that were ranks: the worst becomes 1, the best as many as there are ranks."""
    best, worst = ranks
    return (1.0, worst - best + 1.0)


def parse_scores(
    values: pl.Series, *, ranks: tuple[float, float] | None = None, form: str | None = None
) -> tuple[pl.Series, pl.Series]:
    """Parse a column to float64 scores, null where a completion is not rated, and what is wrong with each row.

    Args:
        values: numbers, truth values (1 and 0), lists of one of these, or text that holds them (``"5"``, ``"N/A"``).
        ranks: best and worst rank, where the values are ranks: these become ``worst + 1 - rank``, so that higher is
            better and the worst is 1.
        form: of texts that are no plain numbers (`prefboost.sources.layouts.score_columns`).
    """
    if isinstance(values.dtype, pl.Array):
        return parse_scores(values.arr.to_list(), ranks=ranks, form=form)
    if isinstance(values.dtype, pl.List):
        # A list of one value is that value; one of none or several is no number.
        single = values.list.len() == 1
        scores, faults = parse_scores(values.list.first(), ranks=ranks, form=form)
        odd = pl.when(~pl.col("single")).then(pl.lit("is not a number"))
        parsed = pl.DataFrame({"single": single, "score": scores, "fault": faults}).select(
            score=pl.when("single").then("score"), fault=pl.coalesce(odd, "fault")
        )
        return parsed["score"], parsed["fault"]
    dtype = values.dtype
    frame = values.to_frame("s")
    column = pl.col("s")
    if dtype == pl.Null:
        return values.cast(pl.Float64), build_no_faults(len(values))
    if dtype == pl.String:
        # A list of one number is that number, and a truth value 1 or 0, as a text too: CSV has nothing but texts.
        alone = column.str.strip_chars().str.replace(r"^\[\s*([^\[\],]*?)\s*\]$", "$1")
        text = alone.replace({"true": "1", "True": "1", "TRUE": "1", "false": "0", "False": "0", "FALSE": "0"})
        rated = pl.when(text.str.to_lowercase().is_in(list(NOT_RATED)).not_()).then(text)
        number = (write_plainly(rated, form) if form else rated).cast(pl.Float64, strict=False)
        wrong = rated.is_not_null() & number.is_null()
    elif dtype == pl.Boolean:
        number, wrong = column.cast(pl.Float64), pl.lit(False)
    elif dtype.is_numeric():
        # A float32 is read as the decimal it was printed from: 6.62, not 6.619999885559082.
        number = column.cast(pl.Float64).round_sig_figs(7) if dtype == pl.Float32 else column.cast(pl.Float64)
        wrong = pl.lit(False)
    else:
        number, wrong = pl.lit(None, dtype=pl.Float64), column.is_not_null()
    pointed = pl.lit(False)
    if form == ",":
        # JSON numbers beside texts may come as texts, so that numbers with a fraction are held to the same sign.
        pointed = column.str.contains(r"^\s*-?\d*\.\d+\s*$") if dtype == pl.String else number != number.floor()
    fault = (
        pl.when(pointed)
        .then(pl.lit(POINTED))
        .when(wrong)
        .then(_name_form(column) if dtype == pl.String else pl.lit("is not a number"))
        .when(number.is_finite().not_())
        .then(pl.lit("is not a finite number"))
        .otherwise(pl.lit(None, dtype=pl.String))
    )
    parsed = frame.with_columns(score=(ranks[1] + 1.0 - number) if ranks else number, fault=fault)
    return parsed["score"], parsed["fault"]


def _name_form(texts: pl.Expr) -> pl.Expr:
    """Name the form of texts that are no numbers, and what to do about it."""
    number = r"^\s*-?\d+(?:[.,]\d+)?"
    return (
        pl.when(texts.str.contains(rf"{number}\s*/\s*\d"))
        .then(pl.lit("is a fraction, and the first ones do not all have that denominator: write the number alone"))
        .when(texts.str.contains(r"^\s*-?\d+,\d+\s*$"))
        .then(pl.lit("has a comma, which may part thousands: write decimals with a point"))
        .when(texts.str.contains(rf"{number}\s*%\s*$"))
        .then(pl.lit("is a percentage: write the number alone"))
        .when(texts.str.contains(rf"{number}\s*[^\W\d]+\s*$"))
        .then(pl.lit("is a number with a word: write the number alone"))
        .otherwise(pl.lit("is not a number"))
    )


def find_range_faults(frame: pl.DataFrame, column: str, allowed: tuple[float, float] | None) -> pl.Series:
    """Find scores outside their declared range."""
    if allowed is None:
        return build_no_faults(frame.height)
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


def find_rank_ends(reader: Reader, layout: Layout, rows: int | None) -> tuple[float, float] | None:
    """Find the best and the worst rank of a source.

    Runs over the source once, reading only the column that holds the ranks where the format allows it. Only the whole
    source can tell: a batch may lack the worst rank, and ranks from 0 look like ranks from 1 where no best is in it.

    Returns:
        best (at most 1) and worst; None where no two ranks differ.
    """
    holder = find_holder(layout, "rank")
    best, worst = math.inf, -math.inf
    for batch in reader.batches(None if "." in holder else [holder], rows):
        for frame in batch.frames:
            ranks = parse_scores(read_inner_values(frame, layout, "rank"))[0].drop_nulls()
            ranks = ranks.filter(ranks.is_finite())
            if ranks.len():
                best, worst = min(best, float(ranks.min())), max(worst, float(ranks.max()))  # type: ignore[arg-type]
    return (min(best, 1.0), worst) if min(best, 1.0) < worst else None
