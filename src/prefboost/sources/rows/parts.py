"""Parts of raw records by the layout's word: columns, labels, messages, prompts."""

from __future__ import annotations

import polars as pl

from prefboost.sources.columns import dtype_at, expr_at
from prefboost.sources.layouts.layout import Layout
from prefboost.sources.messages.conversations import (
    as_messages,
    is_conversation,
    plain_texts,
    prompt_ids,
    role_faults,
    transcript_messages,
    with_system,
)
from prefboost.sources.messages.history import insert_history
from prefboost.sources.messages.tools import offer_tools
from prefboost.sources.readers.raw import ROW
from prefboost.sources.rows.faults import with_fault

__all__ = [
    "column",
    "ending",
    "holds",
    "holds_messages",
    "label",
    "messages",
    "nulls",
    "prompt_rows",
    "raw_part",
    "record_labels",
    "system_first",
    "with_history",
]

NO_TRANSCRIPT = "is no transcript (Human: ... Assistant: ...), as most others are"


def nulls(height: int, dtype: pl.DataType | type[pl.DataType] = pl.Null) -> pl.Series:
    """A column of nulls."""
    return pl.Series("", [None], dtype=dtype).new_from_index(0, height)


def column(frame: pl.DataFrame, path: str | None) -> pl.Series:
    """The values at a column or dotted path; null where this frame has none."""
    if path is None or dtype_at(frame.schema, path) is None:
        return nulls(frame.height)
    return frame.select(expr_at(frame.schema, path)).to_series()


def label(values: pl.Series) -> pl.Series:
    """Names as text; a list of names is joined, anything else is null."""
    if values.dtype == pl.List(pl.String):
        return values.list.join(", ")
    return nulls(values.len(), pl.String) if values.dtype.is_nested() else plain_texts(values).cast(pl.String)


def ending(values: pl.Series) -> pl.Series:
    """Why completions ended, in the words of the tables: stop or length; null where the source's word is unknown."""
    return label(values).str.to_lowercase().replace_strict(_ENDINGS, default=None, return_dtype=pl.String)


_ENDINGS = {"stop": "stop", "eos": "stop", "end_turn": "stop", "stop_sequence": "stop", "tool_calls": "stop",
            "length": "length", "max_tokens": "length", "max_length": "length"}  # fmt: skip
"""Words of the usual servers for the end of a completion -> ours."""


def raw_part(frame: pl.DataFrame, layout: Layout, part: str) -> pl.Series:
    """A part as it stands in its column; texts of several columns of a prompt are joined, a line each.

    LLaMA-Factory's alpaca format joins instruction and input by a line feed too. Blank texts are left out. Columns that
    hold something other than text are not joined, which `messages` finds to be a fault.
    """
    raw = plain_texts(column(frame, layout.parts.get(part)))
    if part != "prompt" or not any(dtype_at(frame.schema, path) is not None for path in layout.further):
        return raw
    texts = {"t0": raw, **_further_texts(frame, layout)}
    if len(texts) == 1 or any(text.dtype not in (pl.String, pl.Null) for text in texts.values()):
        return raw
    blank = [pl.when(pl.col(name).str.contains(r"\S")).then(name) for name in texts if texts[name].dtype == pl.String]
    joined = pl.concat_str(blank, separator="\n", ignore_nulls=True)
    alone = pl.sum_horizontal(pl.col(name).is_not_null() for name in texts) < 2
    text = pl.when(alone).then(pl.coalesce(pl.col(name).cast(pl.String) for name in texts)).otherwise(joined)
    return pl.DataFrame(texts).select(text.alias("raw")).to_series()


def _further_texts(frame: pl.DataFrame, layout: Layout) -> dict[str, pl.Series]:
    """What further columns of the prompt hold, those without any value left out."""
    columns = {f"t{at}": plain_texts(column(frame, path)) for at, path in enumerate(layout.further, 1)}
    return {name: values for name, values in columns.items() if values.dtype != pl.Null}


def messages(frame: pl.DataFrame, layout: Layout, part: str, role: str) -> tuple[pl.Series, pl.Series]:
    """A part as messages, and what is wrong with each."""
    path = layout.parts[part]
    raw = raw_part(frame, layout, part)
    if path not in layout.transcripts or raw.dtype != pl.String:
        lists, fault = as_messages(raw, role)
        return lists, (_further_faults(frame, layout, raw, fault) if part == "prompt" and layout.further else fault)
    lists, fault = as_messages(transcript_messages(raw), role)
    other = pl.when(pl.col("m").is_null() & pl.col("raw").str.contains(r"\S")).then(pl.lit(NO_TRANSCRIPT))
    return lists, pl.DataFrame({"m": lists, "raw": raw, "f": fault}).select(other.otherwise("f")).to_series()


def _further_faults(frame: pl.DataFrame, layout: Layout, raw: pl.Series, fault: pl.Series) -> pl.Series:
    """A fault where further columns of a prompt hold something that could not be joined to it."""
    texts = _further_texts(frame, layout)
    if not texts or all(text.dtype in (pl.String, pl.Null) for text in (raw, *texts.values())):
        return fault
    given = pl.any_horizontal(pl.col(name).is_not_null() for name in texts)
    odd = pl.when(given).then(pl.lit("has several columns, one of which is no text"))
    return pl.DataFrame({**texts, "f": fault}).select(pl.coalesce("f", odd)).to_series()


def holds_messages(frame: pl.DataFrame, layout: Layout, part: str) -> bool:
    """Whether a part has several messages, so that the order of roles has to be looked at."""
    path = layout.parts.get(part)
    return path in layout.transcripts or is_conversation(column(frame, path).dtype)


def system_first(frame: pl.DataFrame, layout: Layout, prompts: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Prompts with the system column's text in front, and what is wrong with that text (none at all is no fault)."""
    raw = plain_texts(column(frame, layout.parts["system"]))
    _, fault = as_messages(raw, "system")
    lacking = fault.is_in(["is missing", "is empty", "has no messages"])
    texts = raw if raw.dtype == pl.String else nulls(frame.height, pl.String)
    odd = pl.when(~pl.col("lacking")).then("fault")
    wrong = pl.DataFrame({"lacking": lacking, "fault": fault}).select(odd).to_series()
    if raw.dtype != pl.String:
        wrong = raw.is_not_null().to_frame("given").select(pl.when("given").then(pl.lit("is not text"))).to_series()
    return with_system(prompts, texts), wrong


def holds(frame: pl.DataFrame, layout: Layout, part: str) -> bool:
    """Whether this frame has the column of a part."""
    path = layout.parts.get(part)
    return path is not None and dtype_at(frame.schema, path) is not None


def with_history(frame: pl.DataFrame, layout: Layout, prompts: pl.Series) -> tuple[pl.Series, dict[str, pl.Series]]:
    """Prompts with the earlier turns that have a column of their own, and what is wrong with those."""
    if not holds(frame, layout, "history"):
        return prompts, {}
    longer, fault = insert_history(prompts, column(frame, layout.parts["history"]))
    return longer, {"history": fault}


def record_labels(frame: pl.DataFrame, layout: Layout, prompts: pl.Series) -> pl.DataFrame:
    """row, prompt, prompt_id (the source's, or a hash), rules, source and split of each record."""
    columns = {"row": frame[ROW], "prompt": prompts}
    given = label(column(frame, layout.parts.get("prompt_id")))
    columns["prompt_id"] = given.fill_null(prompt_ids(prompts)) if given.null_count() else given
    named = [name for name in ("rules", "source", "split") if name in layout.parts]
    columns |= {name: label(column(frame, layout.parts[name])) for name in named}
    return pl.DataFrame(columns)


def prompt_rows(frame: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """`record_labels` of records with an explicit prompt, with its faults and, as ``raw.prompt``, what stood there."""
    prompts, fault = messages(frame, layout, "prompt", "user")
    prompts, history = with_history(frame, layout, prompts)
    faults = {"prompt": fault, **history}
    if holds(frame, layout, "system"):
        prompts, faults["system text"] = system_first(frame, layout, prompts)
    if holds(frame, layout, "tools"):
        prompts, faults["tools"] = offer_tools(prompts, column(frame, layout.parts["tools"]))
    if holds_messages(frame, layout, "prompt"):
        faults["prompt's conversation"] = role_faults(prompts, completion=False)
    rows = record_labels(frame, layout, prompts)
    return with_fault(rows.with_columns(column(frame, layout.parts["prompt"]).alias("raw.prompt")), faults)
