"""Records of two completions and a preference to preference pairs, one row a record."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from prefboost.sources.layouts.comparisons import STATED
from prefboost.sources.layouts.layout import Layout
from prefboost.sources.messages.conversations import as_messages
from prefboost.sources.rows.faults import FAULT, nothing_wrong, with_fault
from prefboost.sources.rows.pairs import pair_rows
from prefboost.sources.rows.parts import column
from prefboost.sources.rows.scores import as_scores
from prefboost.tables import MESSAGES

__all__ = ["preference_rows"]

SIDES = ("chosen", "rejected")
MADE = {"chosen": "__chosen__", "rejected": "__rejected__", "pair_weight": "__weight__"}
"""Columns of the pairs that records are turned into."""


def preference_rows(frame: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """Records of two completions and a preference; a tie names no preferred one and is set aside."""
    sign, faults = _stated(frame, layout)
    whole = {word: column(frame, layout.parts[word]) for word in ("first", "second")}
    prompts = column(frame, layout.parts.get("prompt"))
    lists: dict[str, pl.Series] = {}
    if prompts.dtype == pl.List(pl.String) and all(texts.dtype == pl.List(pl.String) for texts in whole.values()):
        # The turns of a battle: questions in one column, the answers of each model in its own.
        lists = {word: _interleaved(prompts, texts) for word, texts in whole.items()}
        layout = replace(layout, parts={part: at for part, at in layout.parts.items() if part != "prompt"})
    for word, raw in whole.items():
        if word not in lists:
            lists[word], faults[f"{word} completion"] = as_messages(raw, "assistant")
    paths = {"score_chosen": "score_first", "score_rejected": "score_second"}
    scores = {name: column(frame, layout.parts[part]) for name, part in paths.items() if part in layout.parts}
    sides = pl.DataFrame({"sign": sign, **lists}).select(
        pl.when(pl.col("sign") <= 0).then("first").otherwise("second").alias(MADE["chosen"]),
        pl.when(pl.col("sign") <= 0).then("second").otherwise("first").alias(MADE["rejected"]),
    )
    made = frame.with_columns(sides)
    parts = {part: path for part, path in layout.parts.items() if part not in _STATING}
    parts |= {side: MADE[side] for side in SIDES}
    if scores:
        numbers = {name: as_scores(values) for name, values in scores.items()}
        faults |= {f"score of the {word} completion": numbers[name][1]
                   for word, name in (("first", "score_chosen"), ("second", "score_rejected"))}  # fmt: skip
        made = made.with_columns(_by_side(sign, *(values for values, _ in numbers.values())))
        parts |= {name: f"__{name}__" for name in numbers}
    if parts.get("pair_weight") == layout.parts["preference"]:
        strength = as_scores(column(frame, layout.parts["preference"]))[0].abs()
        made = made.with_columns(strength.alias(MADE["pair_weight"]))
        parts["pair_weight"] = MADE["pair_weight"]
    rows = pair_rows(made, replace(layout, parts=parts))
    shown = {f"raw.{word} completion": values for word, values in whole.items()}
    stated = with_fault(pl.DataFrame({"row": rows["row"]}), faults)[FAULT]
    fault = pl.DataFrame({"stated": stated, "own": rows[FAULT]}).select(pl.coalesce("stated", "own").alias(FAULT))
    rows = rows.with_columns(fault.to_series(), **shown)
    return rows.with_columns(column(frame, layout.parts["preference"]).alias("raw.preference"))


_STATING = ("first", "second", "preference", "opposite", "reads", "score_first", "score_second")


def _stated(frame: pl.DataFrame, layout: Layout) -> tuple[pl.Series, dict[str, pl.Series]]:
    """The preference of each record as -1 (first), 1 (second), 0 (tie) or null, and what is wrong with it."""
    reads = layout.parts["reads"]
    raw = column(frame, layout.parts["preference"])
    if reads == "words":
        wrong = nothing_wrong(frame.height)
        values = raw.cast(pl.String, strict=False) if not raw.dtype.is_nested() else nothing_wrong(frame.height)
    else:
        values, wrong = as_scores(raw)
    if "opposite" in layout.parts:
        opposite, odd = as_scores(column(frame, layout.parts["opposite"]))
        values = values - opposite
        wrong = pl.DataFrame({"a": wrong, "b": odd}).select(pl.coalesce("a", "b")).to_series()
    sign = values.to_frame("v").select(STATED[reads](pl.col("v")).cast(pl.Float64).alias("sign")).to_series()
    unknown = pl.when(pl.col("v").is_null()).then(pl.lit("is missing"))
    unread = pl.when(pl.col("sign").is_null()).then(pl.lit("is in words that are not known"))
    tied = pl.when(pl.col("sign") == 0).then(pl.lit("names neither completion (a tie)"))
    states = pl.DataFrame({"v": values, "sign": sign}).select(pl.coalesce(unknown, unread, tied)).to_series()
    return sign, {"preference": wrong, "preference of the pair": states}


def _by_side(sign: pl.Series, first: pl.Series, second: pl.Series) -> pl.DataFrame:
    both = pl.DataFrame({"sign": sign, "first": first, "second": second})
    ahead = pl.col("sign") <= 0
    return both.select(
        pl.when(ahead).then("first").otherwise("second").alias("__score_chosen__"),
        pl.when(ahead).then("second").otherwise("first").alias("__score_rejected__"),
    )


def _interleaved(questions: pl.Series, answers: pl.Series) -> pl.Series:
    """Conversations of questions and answers in turn; null where there are not as many of either."""
    conversations = [
        [
            {"role": role, "content": text or "", "extra": None}
            for question, answer in zip(asked, answered, strict=True)
            for role, text in (("user", question), ("assistant", answer))
        ]
        if asked and answered and len(asked) == len(answered)
        else None
        for asked, answered in zip(questions.to_list(), answers.to_list(), strict=True)
    ]
    return pl.Series("m", conversations, dtype=MESSAGES)
