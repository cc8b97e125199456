"""Records with two completions to preference pairs, one row per record."""

from __future__ import annotations

import polars as pl

from prefboost.sources.layouts.layout import Layout
from prefboost.sources.messages.conversations import find_role_faults
from prefboost.sources.messages.implicit import split_prompts
from prefboost.sources.messages.keys import drop_notes
from prefboost.sources.rows.faults import add_fault, build_no_faults
from prefboost.sources.rows.parts import (
    add_history,
    add_system_and_tools,
    build_nulls,
    build_record_labels,
    has_messages,
    normalize_ending,
    read_column,
    read_labels,
    read_messages,
)
from prefboost.sources.rows.scores import parse_scores
from prefboost.tables import MESSAGES

__all__ = ["convert_pairs"]

NO_PROMPT = "of the two sides is not the same: they share no beginning that ends with a user turn"
SIDES = ("chosen", "rejected")


BOUNDS = {
    "chosen_wins": (1.0, "is not between 0 and 1"),
    "pair_weight": (float("inf"), "is negative"),
}
"""Columns of synthetic pairs: most that they may be (none is below 0), and the fault."""


def convert_pairs(frame: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """Convert records of a chosen and a rejected completion, the prompt beside them or inside both."""
    sides = {side: read_messages(frame, layout, side, "assistant") for side in SIDES}
    faults = {side: fault for side, (_, fault) in sides.items()}
    prompts, prompt_fault = build_nulls(frame.height, MESSAGES), build_no_faults(frame.height)
    if "prompt" in layout.parts:
        prompts, prompt_fault = read_messages(frame, layout, "prompt", "user")
    prompts, history = add_history(frame, layout, prompts) if "prompt" in layout.parts else (prompts, {})
    split = pl.DataFrame({"prompt": prompts, **{side: lists for side, (lists, _) in sides.items()}})
    if any(has_messages(frame, layout, side) for side in SIDES):
        split, inside = split_prompts(split["prompt"], split["chosen"], split["rejected"])
        whole = pl.DataFrame({"f": prompt_fault, "inside": inside, "none": split["prompt"].is_null()})
        chosen = pl.when(pl.col("inside") & pl.col("none")).then(pl.lit(NO_PROMPT)).when(~pl.col("inside")).then("f")
        prompt_fault = whole.select(chosen).to_series()
        faults |= {f"{side} side": find_role_faults(split[side], completion=True) for side in SIDES}
    if "prompt" not in layout.parts:
        prompts, history = add_history(frame, layout, split["prompt"])
        split = split.with_columns(prompts.alias("prompt"))
    faults |= history
    prompts, beside = add_system_and_tools(frame, layout, split["prompt"])
    faults |= beside
    split = split.with_columns(prompts.alias("prompt"))
    missing = pl.when(pl.col("prompt").is_null()).then(pl.lit("is missing"))
    order = {
        "prompt": prompt_fault,
        **faults,
        "prompt of the pair": split.select(missing).to_series(),
        "prompt's conversation": find_role_faults(split["prompt"], completion=False),
    }
    rows = build_record_labels(frame, layout, split["prompt"]).with_columns(split["chosen"], split["rejected"])
    raw = {f"raw.{part}": read_column(frame, layout.parts.get(part)) for part in ("prompt", *SIDES)}
    return _add_scores(add_fault(rows.with_columns(**raw), order), frame, layout)


def _add_scores(rows: pl.DataFrame, frame: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """Add scores, aspects and pair_id; set equal completions aside."""
    columns, faults = {}, {}
    for side, aspects in (("chosen", layout.aspects), ("rejected", layout.aspects_rejected)):
        name = f"score_{side}"
        column = layout.parts.get(name)
        values = read_column(frame, column)
        columns[name], faults[name] = parse_scores(values, form=layout.forms.get(column or ""))
        columns[f"raw.{name}"] = values
        if name in layout.parts and "lineage" not in layout.parts:  # synthetic pairs need no scores
            absent = pl.when(pl.col(name).is_null()).then(pl.lit("is missing"))
            faults[f"{name} of the pair"] = columns[name].to_frame(name).select(absent).to_series()
        for aspect, path in aspects.items():
            values = read_column(frame, path)
            columns[f"{name}.{aspect}"], faults[f"{name}.{aspect}"] = parse_scores(values, form=layout.forms.get(path))
            columns[f"raw.{name}.{aspect}"] = values
        if f"finish_{side}" in layout.parts:
            columns[f"finish_{side}"] = normalize_ending(read_column(frame, layout.parts[f"finish_{side}"]))
    for name, (highest, wrong) in BOUNDS.items():
        if name in layout.parts:
            values = read_column(frame, layout.parts[name])
            columns[name], faults[name] = parse_scores(values)
            columns[f"raw.{name}"] = values
            outside = ~pl.col(name).is_between(0.0, highest)
            bounds = columns[name].to_frame(name).select(pl.when(outside).then(pl.lit(wrong)))
            faults[f"{name} of the pair"] = bounds.to_series()
    if "lineage" in layout.parts:
        columns["lineage"] = read_labels(read_column(frame, layout.parts["lineage"]))
    # Plain texts are compared as such, which is faster than messages.
    texts = all(rows.schema.get(f"raw.{side}") == pl.String for side in SIDES)
    both = {side: rows[f"raw.{side}"] if texts else drop_notes(rows[side]) for side in SIDES}
    same = pl.when(pl.col("chosen") == pl.col("rejected")).then(pl.lit("are the same"))
    faults["two completions"] = pl.DataFrame(both).select(same).to_series()
    ids = read_labels(read_column(frame, layout.parts.get("pair_id")))
    generated = rows.select(pl.format("{}/{}", "prompt_id", "row")).to_series()
    return add_fault(rows.with_columns(**columns, pair_id=ids.fill_null(generated)), faults)
