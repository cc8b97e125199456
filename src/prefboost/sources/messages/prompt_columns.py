"""Parts of a question that have columns of their own: earlier turns of the conversation, and its tools."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import polars as pl

from prefboost.chat.messages import with_tools
from prefboost.sources.messages.conversations import convert_messages
from prefboost.sources.messages.keys import drop_filled_nulls
from prefboost.tables import MESSAGES

__all__ = ["build_turns", "insert_history", "offer_tools"]

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


NO_TOOLS = "are not a list of tools"


def offer_tools(prompts: pl.Series, tools: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Put tools beside the first message of each prompt.

    Args:
        prompts: messages, null where there are none.
        tools: for each row a list of schemas, or the JSON of one; null, blank texts and empty lists are no tools. Nulls
            within a list are left out: a Parquet file fills them in where another row's schema has the key.

    Returns:
        the prompts, and what is wrong with the tools of each row, null where nothing is.
    """
    faults: list[str | None] = []
    offered: list[Any] = []
    for value in tools.to_list():
        schemas = _read_tools(value, tools.dtype)
        faults.append(NO_TOOLS if schemas is None else None)
        offered.append(schemas or None)
    fault = pl.Series("f", faults, dtype=pl.String)
    present = zip(offered, prompts.is_not_null(), strict=True)
    rows = [at for at, (schemas, prompt) in enumerate(present) if schemas and prompt]
    if not rows:
        return prompts, fault
    new = [with_tools(prompt, offered[at]) for at, prompt in zip(rows, prompts.gather(rows).to_list(), strict=True)]
    index = pl.Series("at", rows, dtype=pl.Int64)
    changed = prompts.to_frame("m").with_row_index("at").with_columns(pl.col("at").cast(pl.Int64))
    whole = changed.join(pl.DataFrame({"at": index, "new": pl.Series("new", new, dtype=MESSAGES)}), on="at", how="left")
    return whole.sort("at").select(pl.coalesce("new", "m").alias("m")).to_series(), fault


def _read_tools(value: Any, dtype: Any = None) -> list[Any] | None:
    """Read the tools that a value holds, an empty list for none; None where it is something else."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return []
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
        if value is None:
            return []
        return value if isinstance(value, list) and all(isinstance(tool, dict) for tool in value) else None
    if not isinstance(value, list):
        return None
    texts = [
        _read_tools(f"[{tool}]") if isinstance(tool, str) else [drop_filled_nulls(tool, getattr(dtype, "inner", None))]
        for tool in value
    ]
    whole = [tool for tools in texts for tool in tools or [None]]
    return whole if all(isinstance(tool, dict) for tool in whole) else None
