"""Parts of raw records by the layout's word: columns, labels, messages, prompts."""

from __future__ import annotations

from typing import Any

import polars as pl

from prefboost.sources.columns import build_expression, find_dtype
from prefboost.sources.layouts.layout import Layout
from prefboost.sources.messages.conversations import (
    convert_messages,
    find_role_faults,
    hash_prompts,
    is_conversation,
    parse_transcripts,
    prepend_system,
    write_plain_texts,
)
from prefboost.sources.messages.prompt_columns import insert_history, offer_tools
from prefboost.sources.readers.raw import ROW
from prefboost.sources.rows.faults import add_fault

__all__ = [
    "add_history",
    "build_nulls",
    "build_record_labels",
    "add_system_and_tools",
    "convert_prompts",
    "find_holder",
    "has_messages",
    "has_part",
    "insert_system",
    "normalize_ending",
    "read_column",
    "read_inner_values",
    "read_labels",
    "read_messages",
    "read_raw_part",
]

NO_TRANSCRIPT = "is no transcript (Human: ... Assistant: ...), as most others are"


def build_nulls(height: int, dtype: pl.DataType | type[pl.DataType] = pl.Null) -> pl.Series:
    """Build a column of nulls."""
    return pl.Series("", [None], dtype=dtype).new_from_index(0, height)


def read_column(frame: pl.DataFrame, path: str | None) -> pl.Series:
    """Read the values at a column or dotted path; null where this frame has none."""
    if path is None or find_dtype(frame.schema, path) is None:
        return build_nulls(frame.height)
    return frame.select(build_expression(frame.schema, path)).to_series()


def read_labels(values: pl.Series) -> pl.Series:
    """Read names as text; a list of names is joined, anything else is null."""
    if values.dtype == pl.List(pl.String):
        return values.list.join(", ")
    return (
        build_nulls(values.len(), pl.String) if values.dtype.is_nested() else write_plain_texts(values).cast(pl.String)
    )


def normalize_ending(values: pl.Series) -> pl.Series:
    """Translate why completions ended to the tables' stop or length; null where the source's word is unknown."""
    return read_labels(values).str.to_lowercase().replace_strict(_ENDINGS, default=None, return_dtype=pl.String)


_ENDINGS = {"stop": "stop", "eos": "stop", "end_turn": "stop", "stop_sequence": "stop", "tool_calls": "stop",
            "length": "length", "max_tokens": "length", "max_length": "length"}  # fmt: skip
"""Words of the usual servers for the end of a completion -> ours."""


def read_raw_part(frame: pl.DataFrame, layout: Layout, part: str) -> pl.Series:
    """Read a part as its column holds it; texts of several columns of a prompt are joined, one per line.

    LLaMA-Factory's alpaca format joins instruction and input by a line feed too. Blank texts are left out. Columns that
    hold something other than text are not joined, which `read_messages` finds to be a fault.
    """
    raw = write_plain_texts(read_column(frame, layout.parts.get(part)))
    if part != "prompt" or not any(find_dtype(frame.schema, path) is not None for path in layout.further):
        return raw
    texts = {"t0": raw, **_read_further_texts(frame, layout)}
    if len(texts) == 1 or any(text.dtype not in (pl.String, pl.Null) for text in texts.values()):
        return raw
    blank = [pl.when(pl.col(name).str.contains(r"\S")).then(name) for name in texts if texts[name].dtype == pl.String]
    joined = pl.concat_str(blank, separator="\n", ignore_nulls=True)
    alone = pl.sum_horizontal(pl.col(name).is_not_null() for name in texts) < 2
    text = pl.when(alone).then(pl.coalesce(pl.col(name).cast(pl.String) for name in texts)).otherwise(joined)
    return pl.DataFrame(texts).select(text.alias("raw")).to_series()


def _read_further_texts(frame: pl.DataFrame, layout: Layout) -> dict[str, pl.Series]:
    """Read the further columns of the prompt, those without any value left out."""
    columns = {f"t{at}": write_plain_texts(read_column(frame, path)) for at, path in enumerate(layout.further, 1)}
    return {name: values for name, values in columns.items() if values.dtype != pl.Null}


def read_messages(frame: pl.DataFrame, layout: Layout, part: str, role: str) -> tuple[pl.Series, pl.Series]:
    """Read a part as messages, and what is wrong with each."""
    path = layout.parts[part]
    raw = read_raw_part(frame, layout, part)
    if path not in layout.transcripts or raw.dtype != pl.String:
        lists, fault = convert_messages(raw, role)
        texts = _read_further_texts(frame, layout) if part == "prompt" else {}
        if not texts or all(text.dtype in (pl.String, pl.Null) for text in (raw, *texts.values())):
            return lists, fault
        present = pl.any_horizontal(pl.col(name).is_not_null() for name in texts)
        odd = pl.when(present).then(pl.lit("has several columns, one of which is no text"))
        return lists, pl.DataFrame({**texts, "f": fault}).select(pl.coalesce("f", odd)).to_series()
    lists, fault = convert_messages(parse_transcripts(raw), role)
    other = pl.when(pl.col("m").is_null() & pl.col("raw").str.contains(r"\S")).then(pl.lit(NO_TRANSCRIPT))
    return lists, pl.DataFrame({"m": lists, "raw": raw, "f": fault}).select(other.otherwise("f")).to_series()


def has_messages(frame: pl.DataFrame, layout: Layout, part: str) -> bool:
    """Tell whether a part has several messages, so that the order of roles has to be checked."""
    path = layout.parts.get(part)
    return path in layout.transcripts or is_conversation(read_column(frame, path).dtype)


def insert_system(frame: pl.DataFrame, layout: Layout, prompts: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Put the system column's text in front of prompts, and say what is wrong with it (none at all is no fault)."""
    raw = write_plain_texts(read_column(frame, layout.parts["system"]))
    _, fault = convert_messages(raw, "system")
    lacking = fault.is_in(["is missing", "is empty", "has no messages"])
    texts = raw if raw.dtype == pl.String else build_nulls(frame.height, pl.String)
    odd = pl.when(~pl.col("lacking")).then("fault")
    wrong = pl.DataFrame({"lacking": lacking, "fault": fault}).select(odd).to_series()
    if raw.dtype != pl.String:
        wrong = raw.is_not_null().to_frame("given").select(pl.when("given").then(pl.lit("is not text"))).to_series()
    return prepend_system(prompts, texts), wrong


def add_system_and_tools(
    frame: pl.DataFrame, layout: Layout, prompts: pl.Series
) -> tuple[pl.Series, dict[str, pl.Series]]:
    """Add system text and tools that have columns of their own to prompts, and say what is wrong with them."""
    faults: dict[str, pl.Series] = {}
    if has_part(frame, layout, "system"):
        prompts, faults["system text"] = insert_system(frame, layout, prompts)
    if has_part(frame, layout, "tools"):
        prompts, faults["tools"] = offer_tools(prompts, read_column(frame, layout.parts["tools"]))
    return prompts, faults


def has_part(frame: pl.DataFrame, layout: Layout, part: str) -> bool:
    """Tell whether this frame has the column of a part."""
    path = layout.parts.get(part)
    return path is not None and find_dtype(frame.schema, path) is not None


def add_history(frame: pl.DataFrame, layout: Layout, prompts: pl.Series) -> tuple[pl.Series, dict[str, pl.Series]]:
    """Put earlier turns that have a column of their own in front of prompts, and say what is wrong with them."""
    if not has_part(frame, layout, "history"):
        return prompts, {}
    extended, fault = insert_history(prompts, read_column(frame, layout.parts["history"]))
    return extended, {"history": fault}


def build_record_labels(frame: pl.DataFrame, layout: Layout, prompts: pl.Series) -> pl.DataFrame:
    """Build row, prompt, prompt_id (the source's, or a hash), rules, source and split of each record."""
    columns = {"row": frame[ROW], "prompt": prompts}
    ids = read_labels(read_column(frame, layout.parts.get("prompt_id")))
    columns["prompt_id"] = ids.fill_null(hash_prompts(prompts)) if ids.null_count() else ids
    named = [name for name in ("rules", "source", "split") if name in layout.parts]
    columns |= {name: read_labels(read_column(frame, layout.parts[name])) for name in named}
    return pl.DataFrame(columns)


def convert_prompts(frame: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """Convert records with an explicit prompt: their labels, their faults, and ``raw.prompt``, what stood there."""
    prompts, fault = read_messages(frame, layout, "prompt", "user")
    prompts, history = add_history(frame, layout, prompts)
    faults = {"prompt": fault, **history}
    prompts, beside = add_system_and_tools(frame, layout, prompts)
    faults |= beside
    if has_messages(frame, layout, "prompt"):
        faults["prompt's conversation"] = find_role_faults(prompts, completion=False)
    rows = build_record_labels(frame, layout, prompts)
    return add_fault(rows.with_columns(read_column(frame, layout.parts["prompt"]).alias("raw.prompt")), faults)


def find_holder(layout: Layout, part: str) -> str:
    """Find the column that holds a part: that of the completions where it is a field of each of them."""
    nested = layout.shape == "nested" and part in ("completion", "completion_id", "score", "rank")
    return layout.parts["completions" if nested else part]


def read_inner_values(frame: pl.DataFrame, layout: Layout, part: str) -> pl.Series:
    """Read all values of a part in the records of a frame, completion by completion; none where it is absent."""
    values = read_column(frame, find_holder(layout, part))
    if not isinstance(values.dtype, pl.List | pl.Array):
        return values
    items = values.explode()
    if layout.shape != "nested":
        return items
    inner: Any = items.dtype
    schema: dict[str, Any] = {item.name: item.dtype for item in inner.fields} if isinstance(inner, pl.Struct) else {}
    path = layout.parts[part]
    if not schema or find_dtype(schema, path) is None:
        return pl.Series([], dtype=pl.String)
    return items.struct.unnest().select(build_expression(schema, path)).to_series()
