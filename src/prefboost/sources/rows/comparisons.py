"""Records of two completions and a preference to preference pairs, one row per record."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from prefboost.sources.layouts.comparisons import STATED
from prefboost.sources.layouts.layout import Layout
from prefboost.sources.messages.conversations import convert_messages
from prefboost.sources.messages.prompt_columns import build_turns
from prefboost.sources.rows.faults import FAULT, add_fault, build_no_faults
from prefboost.sources.rows.pairs import convert_pairs
from prefboost.sources.rows.parts import read_column
from prefboost.sources.rows.scores import parse_scores

__all__ = ["convert_preferences"]

SIDES = ("chosen", "rejected")


def convert_preferences(frame: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """Convert records of two completions and a preference; a tie prefers neither and is rejected."""
    sign, faults = _read_preference(frame, layout)
    whole = {word: read_column(frame, layout.parts[word]) for word in ("first", "second")}
    prompts = read_column(frame, layout.parts.get("prompt"))
    lists: dict[str, pl.Series] = {}
    if prompts.dtype == pl.List(pl.String) and all(texts.dtype == pl.List(pl.String) for texts in whole.values()):
        # The turns of a battle: questions in one column, the answers of each model in its own.
        for word, texts in whole.items():
            both = zip(prompts.to_list(), texts.to_list(), strict=True)
            # Null where there are not as many answers as questions.
            lists[word] = build_turns(
                zip(asks, answers, strict=True) if asks and answers and len(asks) == len(answers) else None
                for asks, answers in both
            )
        layout = replace(layout, parts={part: at for part, at in layout.parts.items() if part != "prompt"})
    for word, raw in whole.items():
        if word not in lists:
            lists[word], faults[f"{word} completion"] = convert_messages(raw, "assistant")
    sided = frame.with_columns(_sort_by_side(sign, lists["first"], lists["second"], "__{}__"))
    parts = {part: path for part, path in layout.parts.items() if part not in _PREFERENCE_PARTS}
    parts |= {side: f"__{side}__" for side in SIDES}
    if "score_first" in layout.parts:
        (first, first_fault), (second, second_fault) = (
            _parse_part(frame, layout, part) for part in ("score_first", "score_second")
        )
        faults |= {"score of the first completion": first_fault, "score of the second completion": second_fault}
        sided = sided.with_columns(_sort_by_side(sign, first, second, "__score_{}__"))
        parts |= {f"score_{side}": f"__score_{side}__" for side in SIDES}
    if parts.get("pair_weight") == layout.parts["preference"]:
        strength = _parse_part(frame, layout, "preference")[0].abs()
        sided = sided.with_columns(strength.alias("__weight__"))
        parts["pair_weight"] = "__weight__"
    rows = convert_pairs(sided, replace(layout, parts=parts))
    raw_columns = {f"raw.{word} completion": values for word, values in whole.items()}
    stated = add_fault(pl.DataFrame({"row": rows["row"]}), faults)[FAULT]
    fault = pl.DataFrame({"stated": stated, "own": rows[FAULT]}).select(pl.coalesce("stated", "own").alias(FAULT))
    rows = rows.with_columns(fault.to_series(), **raw_columns)
    return rows.with_columns(read_column(frame, layout.parts["preference"]).alias("raw.preference"))


_PREFERENCE_PARTS = ("first", "second", "preference", "opposite", "reads", "score_first", "score_second")


def _read_preference(frame: pl.DataFrame, layout: Layout) -> tuple[pl.Series, dict[str, pl.Series]]:
    """Read each record's preference as -1 (first), 1 (second), 0 (tie) or null, and what is wrong with it."""
    reads = layout.parts["reads"]
    raw = read_column(frame, layout.parts["preference"])
    if reads == "words":
        wrong = build_no_faults(frame.height)
        values = raw.cast(pl.String, strict=False) if not raw.dtype.is_nested() else build_no_faults(frame.height)
    else:
        values, wrong = _parse_part(frame, layout, "preference")
    if "opposite" in layout.parts:
        opposite, odd = _parse_part(frame, layout, "opposite")
        values = values - opposite
        wrong = pl.DataFrame({"a": wrong, "b": odd}).select(pl.coalesce("a", "b")).to_series()
    sign = values.to_frame("v").select(STATED[reads](pl.col("v")).cast(pl.Float64).alias("sign")).to_series()
    unknown = pl.when(pl.col("v").is_null()).then(pl.lit("is missing"))
    unread = pl.when(pl.col("sign").is_null()).then(pl.lit("is in words that are not known"))
    tied = pl.when(pl.col("sign") == 0).then(pl.lit("names neither completion (a tie)"))
    states = pl.DataFrame({"v": values, "sign": sign}).select(pl.coalesce(unknown, unread, tied)).to_series()
    return sign, {"preference": wrong, "preference of the pair": states}


def _parse_part(frame: pl.DataFrame, layout: Layout, part: str) -> tuple[pl.Series, pl.Series]:
    path = layout.parts[part]
    return parse_scores(read_column(frame, path), form=layout.forms.get(path))


def _sort_by_side(sign: pl.Series, first: pl.Series, second: pl.Series, name: str) -> pl.DataFrame:
    """Move values of the better completion to the column of the chosen side, those of the other to the rejected's.

    Args:
        sign: of each record's preference; a tie counts for the first.
        first, second: a value of each completion.
        name: of the two columns, with ``{}`` for the side.
    """
    ahead = pl.col("sign") <= 0
    return pl.DataFrame({"sign": sign, "first": first, "second": second}).select(
        pl.when(ahead).then("first").otherwise("second").alias(name.format("chosen")),
        pl.when(ahead).then("second").otherwise("first").alias(name.format("rejected")),
    )
