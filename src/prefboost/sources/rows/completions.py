"""Records with completions, one or several each, to one row per completion."""

from __future__ import annotations

from typing import Any

import polars as pl

from prefboost.sources.layouts.layout import INSIDE, Layout
from prefboost.sources.messages.conversations import convert_messages, find_role_faults, is_conversation
from prefboost.sources.rows.faults import add_fault
from prefboost.sources.rows.parts import build_nulls, convert_prompts, normalize_ending, read_column, read_labels
from prefboost.sources.rows.scores import RANKS, parse_scores

__all__ = ["INDEX", "convert_flat", "convert_nested", "convert_parallel"]

INDEX = "__index__"
"""Position of a completion in its record, from 0."""


def convert_flat(frame: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """Convert records of prompt, completion and score: one row per record."""
    records = convert_prompts(frame, layout).with_columns(pl.lit(0, dtype=pl.Int64).alias(INDEX))
    return _add_completions(records, frame, layout)


def convert_nested(frame: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """Convert records of a prompt and a list of completion structs; a record without completions is one faulty row."""
    lists = _convert_array(read_column(frame, layout.parts["completions"]))
    inner: Any = lists.dtype.inner if isinstance(lists.dtype, pl.List) else None
    if not isinstance(inner, pl.Struct):
        return _reject_odd_types(frame, layout, lists)
    fields = {item.name for item in inner.fields}
    paths = {*layout.aspects.values(), *(layout.parts[part] for part in INSIDE if part in layout.parts)}
    heads = sorted({path if path in fields else path.split(".")[0] for path in paths} & fields)
    if not heads:
        return _reject_odd_types(frame, layout, lists)
    slim = lists.to_frame("c").select(pl.col("c").list.eval(pl.struct(pl.element().struct.field(*heads))))
    return _explode_lists(convert_prompts(frame, layout), {"c": slim["c"]}, layout)


def convert_parallel(frame: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """Convert records of a list of completions with lists of scores, models ... beside it."""
    parts = {part: layout.parts[part] for part in ("completions", *INSIDE) if part in layout.parts}
    lists = {
        ("completion" if part == "completions" else part): _convert_array(read_column(frame, path))
        for part, path in parts.items()
    }
    if not all(isinstance(values.dtype, pl.List) for values in lists.values()):
        return _reject_odd_types(frame, layout, lists["completion"])
    beside = pl.DataFrame([values.alias(part) for part, values in lists.items()])
    counts = [pl.col(part).list.len().fill_null(0) for part in lists]
    unequal = beside.select(pl.any_horizontal([count != counts[0] for count in counts])).to_series()
    fault = pl.when(pl.col("u")).then(pl.lit("has lists of another length beside its completions"))
    records = add_fault(convert_prompts(frame, layout), {"record": unequal.to_frame("u").select(fault).to_series()})
    if unequal.any():
        beside = beside.select(pl.when(~unequal).then(pl.col(part)).alias(part) for part in lists)
    forms = {part: layout.forms[path] for part, path in parts.items() if path in layout.forms}
    within = Layout("flat", {part: part for part in lists}, ranks=layout.ranks, forms=forms)
    return _explode_lists(records, beside.to_dict(), within)


def _convert_array(values: pl.Series) -> pl.Series:
    return values.arr.to_list() if isinstance(values.dtype, pl.Array) else values


def _explode_lists(records: pl.DataFrame, lists: dict[str, pl.Series], layout: Layout) -> pl.DataFrame:
    """Make one row of each item of ``lists``, which are equally long."""
    first = next(iter(lists.values()))
    counts = first.list.len().fill_null(0)
    none = pl.when(pl.col("n") == 0).then(pl.lit("has no completions"))
    counted = add_fault(records, {"record": counts.to_frame("n").select(none).to_series()})
    index = counts.to_frame("n").select(pl.int_ranges(0, pl.max_horizontal("n", 1), dtype=pl.Int64)).to_series()
    # Lists that are empty or null get one null, so that their record keeps one row for its fault.
    filled = pl.when(pl.col("v").list.len() > 0).then("v").otherwise(pl.concat_list(pl.lit(None)))
    lists = {name: values.to_frame("v").select(filled).to_series() for name, values in lists.items()}
    rows = counted.with_columns(**{INDEX: index}, **{f"item.{name}": values for name, values in lists.items()})
    rows = rows.explode(INDEX, *(f"item.{name}" for name in lists))
    items = rows.select(pl.col(f"item.{name}").alias(name) for name in lists)
    raw = items.unnest("c") if list(lists) == ["c"] else items
    bare = rows.drop(f"item.{name}" for name in lists)
    return _add_completions(bare, raw, layout)


def _reject_odd_types(frame: pl.DataFrame, layout: Layout, lists: pl.Series) -> pl.DataFrame:
    """Reject records whose completions have another type than the rest of the source."""
    odd = pl.lit("has completions of an unexpected type")
    wrong = pl.when(pl.col("c").is_null()).then(pl.lit("has no completions")).otherwise(odd)
    faults = lists.to_frame("c").select(wrong).to_series()
    records = add_fault(convert_prompts(frame, layout), {"record": faults})
    return _add_completions(records.with_columns(pl.lit(0, dtype=pl.Int64).alias(INDEX)), records.select("row"), layout)


def _add_completions(records: pl.DataFrame, raw: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """Add completion, score, aspects, model and completion_id out of ``raw``, which has the same height."""
    texts = read_column(raw, layout.parts.get("completion"))
    lists, fault = convert_messages(texts, "assistant")
    columns: dict[str, pl.Series] = {"completion": lists, "raw.completion": texts}
    faults = {"completion": fault}
    if is_conversation(texts.dtype):
        faults["completion's conversation"] = find_role_faults(lists, completion=True)
    number = next((part for part in ("score", "rank") if part in layout.parts), None)
    values = read_column(raw, layout.parts[number]) if number else build_nulls(raw.height)
    ranks, form = (layout.ranks or RANKS) if number == "rank" else None, layout.forms.get(layout.parts.get("score", ""))
    columns["score"], faults["score"] = parse_scores(values, ranks=ranks, form=form)
    columns["raw.score"] = values
    for aspect, path in layout.aspects.items():
        values = read_column(raw, path)
        columns[f"score.{aspect}"], faults[f"score.{aspect}"] = parse_scores(values, form=layout.forms.get(path))
        columns[f"raw.score.{aspect}"] = values
    columns |= {
        part: read_labels(read_column(raw, layout.parts[part]))
        for part in ("model", "completion_id")
        if part in layout.parts
    }
    if "finish_reason" in layout.parts:
        columns["finish_reason"] = normalize_ending(read_column(raw, layout.parts["finish_reason"]))
    for part, path in layout.parts.items():
        if part == "goal" or part.startswith("goal."):
            columns[part] = read_column(raw, path).cast(pl.Float64, strict=False)
    rows = records.with_columns(**columns)
    if number is not None:
        rated = pl.any_horizontal([pl.col(name).is_not_null() for name in columns if name.startswith("score")])
        missing = pl.when(rated.not_()).then(pl.lit("is missing"))
        faults["score of the completion"] = rows.select(missing).to_series()
    return add_fault(rows, faults)
