"""Records with completions, one or several each, to one row a completion."""

from __future__ import annotations

from typing import Any

import polars as pl

from prefboost.sources.layouts.layout import Layout
from prefboost.sources.messages.conversations import as_messages, is_conversation, role_faults
from prefboost.sources.rows.faults import with_fault
from prefboost.sources.rows.parts import column, ending, label, nulls, prompt_rows
from prefboost.sources.rows.scores import RANKS, as_scores

__all__ = ["INDEX", "flat_rows", "nested_rows", "parallel_rows"]

INDEX = "__index__"
"""Position of a completion in its record, from 0."""

INNER = ("completion", "score", "rank", "model", "completion_id", "finish_reason")


def flat_rows(frame: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """Records of prompt, completion and score: one row a record."""
    known = prompt_rows(frame, layout).with_columns(pl.lit(0, dtype=pl.Int64).alias(INDEX))
    return _with_completions(known, frame, layout)


def nested_rows(frame: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """Records of a prompt and a list of completion structs; a record without completions keeps one faulty row."""
    lists = _as_list(column(frame, layout.parts["completions"]))
    inner: Any = lists.dtype.inner if isinstance(lists.dtype, pl.List) else None
    if not isinstance(inner, pl.Struct):
        return _unusable(frame, layout, lists)
    fields = {item.name for item in inner.fields}
    wanted = {*layout.aspects.values(), *(layout.parts[part] for part in INNER if part in layout.parts)}
    heads = sorted({path if path in fields else path.split(".")[0] for path in wanted} & fields)
    if not heads:
        return _unusable(frame, layout, lists)
    slim = lists.to_frame("c").select(pl.col("c").list.eval(pl.struct(pl.element().struct.field(*heads))))
    return _exploded(prompt_rows(frame, layout), {"c": slim["c"]}, layout)


def parallel_rows(frame: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """Records of a list of completions with lists of scores, models ... beside it."""
    parts = {part: layout.parts[part] for part in ("completions", *INNER) if part in layout.parts}
    lists = {
        ("completion" if part == "completions" else part): _as_list(column(frame, path)) for part, path in parts.items()
    }
    if not all(isinstance(values.dtype, pl.List) for values in lists.values()):
        return _unusable(frame, layout, lists["completion"])
    beside = pl.DataFrame([values.alias(part) for part, values in lists.items()])
    counts = [pl.col(part).list.len().fill_null(0) for part in lists]
    unequal = beside.select(pl.any_horizontal([count != counts[0] for count in counts])).to_series()
    fault = pl.when(pl.col("u")).then(pl.lit("has lists of another length beside its completions"))
    known = with_fault(prompt_rows(frame, layout), {"record": unequal.to_frame("u").select(fault).to_series()})
    if unequal.any():
        beside = beside.select(pl.when(~unequal).then(pl.col(part)).alias(part) for part in lists)
    within = Layout("flat", {part: part for part in lists}, ranks=layout.ranks)
    return _exploded(known, beside.to_dict(), within)


def _as_list(values: pl.Series) -> pl.Series:
    return values.arr.to_list() if isinstance(values.dtype, pl.Array) else values


def _exploded(known: pl.DataFrame, lists: dict[str, pl.Series], layout: Layout) -> pl.DataFrame:
    """One row for each item of ``lists``, which are equally long."""
    first = next(iter(lists.values()))
    counts = first.list.len().fill_null(0)
    none = pl.when(pl.col("n") == 0).then(pl.lit("has no completions"))
    counted = with_fault(known, {"record": counts.to_frame("n").select(none).to_series()})
    index = counts.to_frame("n").select(pl.int_ranges(0, pl.max_horizontal("n", 1), dtype=pl.Int64)).to_series()
    lists = {name: values.to_frame("v").select(_one_at_least()).to_series() for name, values in lists.items()}
    rows = counted.with_columns(**{INDEX: index}, **{f"item.{name}": values for name, values in lists.items()})
    rows = rows.explode(INDEX, *(f"item.{name}" for name in lists))
    items = rows.select(pl.col(f"item.{name}").alias(name) for name in lists)
    raw = items.unnest("c") if list(lists) == ["c"] else items
    bare = rows.drop(f"item.{name}" for name in lists)
    return _with_completions(bare, raw, layout)


def _one_at_least() -> pl.Expr:
    """The lists of ``v``, those that are empty or null with one null in them."""
    return pl.when(pl.col("v").list.len() > 0).then("v").otherwise(pl.concat_list(pl.lit(None)))


def _unusable(frame: pl.DataFrame, layout: Layout, lists: pl.Series) -> pl.DataFrame:
    """Records whose completions have another type than the rest of the source."""
    odd = pl.lit("has completions of an unexpected type")
    wrong = pl.when(pl.col("c").is_null()).then(pl.lit("has no completions")).otherwise(odd)
    shown = lists.to_frame("c").select(wrong).to_series()
    known = with_fault(prompt_rows(frame, layout), {"record": shown})
    return _with_completions(known.with_columns(pl.lit(0, dtype=pl.Int64).alias(INDEX)), known.select("row"), layout)


def _with_completions(known: pl.DataFrame, raw: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """Add completion, score, aspects, model and completion_id out of ``raw``, which has the same height."""
    texts = column(raw, layout.parts.get("completion"))
    lists, fault = as_messages(texts, "assistant")
    columns: dict[str, pl.Series] = {"completion": lists, "raw.completion": texts}
    faults = {"completion": fault}
    if is_conversation(texts.dtype):
        faults["completion's conversation"] = role_faults(lists, completion=True)
    number = next((part for part in ("score", "rank") if part in layout.parts), None)
    values = column(raw, layout.parts[number]) if number else nulls(raw.height)
    columns["score"], faults["score"] = as_scores(values, ranks=(layout.ranks or RANKS) if number == "rank" else None)
    columns["raw.score"] = values
    for aspect, path in layout.aspects.items():
        values = column(raw, path)
        columns[f"score.{aspect}"], faults[f"score.{aspect}"] = as_scores(values)
        columns[f"raw.score.{aspect}"] = values
    columns |= {part: label(column(raw, layout.parts[part])) for part in INNER[3:5] if part in layout.parts}
    if "finish_reason" in layout.parts:
        columns["finish_reason"] = ending(column(raw, layout.parts["finish_reason"]))
    rows = known.with_columns(**columns)
    if number is not None:
        rated = pl.any_horizontal([pl.col(name).is_not_null() for name in columns if name.startswith("score")])
        missing = pl.when(rated.not_()).then(pl.lit("is missing"))
        faults["score of the completion"] = rows.select(missing).to_series()
    return with_fault(rows, faults)
