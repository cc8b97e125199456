"""Earlier turns of a conversation that stand in a column of their own (LLaMA-Factory's and ms-swift's ``history``)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import polars as pl

from prefboost.sources.messages.conversations import convert_messages
from prefboost.tables import MESSAGES

__all__ = ["build_turns", "insert_history"]

NO_TURNS = "is not a list of [question, answer], or of messages"


def insert_history(prompts: pl.Series, history: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Put earlier turns in front of prompts, behind a system message.

    Args:
        prompts: messages, null where there are none.
        history: lists of ``[question, answer]`` or of messages; null and empty lists are no history.

    Returns:
        the longer prompts; and what is wrong with each history, null where nothing is.
    """
    values = history.arr.to_list() if isinstance(history.dtype, pl.Array) else history
    nothing = pl.Series("f", [None], dtype=pl.String).new_from_index(0, len(values))
    if values.dtype in (pl.Null, pl.List(pl.Null), pl.List(pl.List(pl.Null))):
        return prompts, nothing
    if not isinstance(values.dtype, pl.List):
        holds = pl.col("h").str.contains(r"\S") if values.dtype == pl.String else pl.col("h").is_not_null()
        return prompts, values.to_frame("h").select(pl.when(holds).then(pl.lit(NO_TURNS)).alias("f")).to_series()
    inner: Any = values.dtype.inner
    if isinstance(inner, pl.Struct):
        turns, faults = convert_messages(values, "user")
        faults = pl.DataFrame({"f": faults, "n": values.list.len()}).select(pl.when(pl.col("n") > 0).then("f"))["f"]
    else:
        rows = [row or [] for row in values.to_list()]
        whole = [
            all(isinstance(pair, list) and len(pair) == 2 and {*map(type, pair)} == {str} for pair in row)
            for row in rows
        ]
        turns = build_turns(row if good else () for row, good in zip(rows, whole, strict=True)).alias("h")
        faults = pl.Series("f", [None if good else NO_TURNS for good in whole], dtype=pl.String)
    frame = pl.DataFrame({"m": prompts, "h": turns, "f": faults})
    led = pl.col("m").list.first().struct.field("role") == "system"
    head = pl.when(led.fill_null(False)).then(pl.col("m").list.head(1)).otherwise(pl.col("m").list.head(0))
    tail = pl.when(led.fill_null(False)).then(pl.col("m").list.slice(1)).otherwise(pl.col("m"))
    # A prompt that begins with the earlier turns holds them already.
    apart = tail.list.head(pl.col("h").list.len()) != pl.col("h")
    applies = (pl.col("h").list.len() > 0) & pl.col("f").is_null() & apart
    extended = pl.when(applies).then(pl.concat_list(head, "h", tail))
    return frame.select(extended.otherwise("m").alias("m")).to_series(), frame["f"]


def build_turns(rows: Iterable[Iterable[Sequence[str | None]] | None]) -> pl.Series:
    """Build a conversation of each row's pairs of question and answer; null where the row is null."""
    conversations = [
        None
        if pairs is None
        else [
            {"role": role, "content": text or "", "extra": None}
            for pair in pairs
            for role, text in zip(("user", "assistant"), pair, strict=True)
        ]
        for pairs in rows
    ]
    return pl.Series("m", conversations, dtype=MESSAGES)
