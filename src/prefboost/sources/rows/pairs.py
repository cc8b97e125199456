"""Records with two completions to preference pairs, one row a record."""

from __future__ import annotations

import polars as pl

from prefboost.sources.layouts.layout import Layout
from prefboost.sources.messages.conversations import role_faults
from prefboost.sources.messages.implicit import split_prompts
from prefboost.sources.messages.keys import bare_messages
from prefboost.sources.messages.tools import offer_tools
from prefboost.sources.rows.faults import nothing_wrong, with_fault
from prefboost.sources.rows.parts import (
    column,
    ending,
    holds,
    holds_messages,
    label,
    messages,
    nulls,
    record_labels,
    system_first,
    with_history,
)
from prefboost.sources.rows.scores import as_scores
from prefboost.tables import MESSAGES

__all__ = ["pair_rows"]

NO_PROMPT = "of the two sides is not the same: they share no beginning that ends with a user turn"
SIDES = ("chosen", "rejected")


BOUNDS = {
    "chosen_wins": (1.0, "is not between 0 and 1"),
    "pair_weight": (float("inf"), "is negative"),
}
"""Columns of synthetic pairs: most that they may be (none is below 0), and the fault."""


def pair_rows(frame: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """Records of a chosen and a rejected completion, the prompt beside them or inside both."""
    sides = {side: messages(frame, layout, side, "assistant") for side in SIDES}
    faults = {side: fault for side, (_, fault) in sides.items()}
    prompts, prompt_fault = nulls(frame.height, MESSAGES), nothing_wrong(frame.height)
    if "prompt" in layout.parts:
        prompts, prompt_fault = messages(frame, layout, "prompt", "user")
    prompts, history = with_history(frame, layout, prompts) if "prompt" in layout.parts else (prompts, {})
    split = pl.DataFrame({"prompt": prompts, **{side: lists for side, (lists, _) in sides.items()}})
    if any(holds_messages(frame, layout, side) for side in SIDES):
        split, inside = split_prompts(split["prompt"], split["chosen"], split["rejected"])
        whole = pl.DataFrame({"f": prompt_fault, "inside": inside, "none": split["prompt"].is_null()})
        chosen = pl.when(pl.col("inside") & pl.col("none")).then(pl.lit(NO_PROMPT)).when(~pl.col("inside")).then("f")
        prompt_fault = whole.select(chosen).to_series()
        faults |= {f"{side} side": role_faults(split[side], completion=True) for side in SIDES}
    if "prompt" not in layout.parts:
        prompts, history = with_history(frame, layout, split["prompt"])
        split = split.with_columns(prompts.alias("prompt"))
    faults |= history
    if holds(frame, layout, "system"):
        prompts, faults["system text"] = system_first(frame, layout, split["prompt"])
        split = split.with_columns(prompts.alias("prompt"))
    if holds(frame, layout, "tools"):
        prompts, faults["tools"] = offer_tools(split["prompt"], column(frame, layout.parts["tools"]))
        split = split.with_columns(prompts.alias("prompt"))
    missing = pl.when(pl.col("prompt").is_null()).then(pl.lit("is missing"))
    order = {
        "prompt": prompt_fault,
        **faults,
        "prompt of the pair": split.select(missing).to_series(),
        "prompt's conversation": role_faults(split["prompt"], completion=False),
    }
    rows = record_labels(frame, layout, split["prompt"]).with_columns(split["chosen"], split["rejected"])
    raw = {f"raw.{part}": column(frame, layout.parts.get(part)) for part in ("prompt", *SIDES)}
    return _finished(with_fault(rows.with_columns(**raw), order), frame, layout)


def _finished(rows: pl.DataFrame, frame: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """Add scores, aspects and pair_id; set equal completions aside."""
    columns, faults = {}, {}
    for side, aspects in (("chosen", layout.aspects), ("rejected", layout.aspects_rejected)):
        values = column(frame, layout.parts.get(f"score_{side}"))
        name = f"score_{side}"
        columns[name], faults[name] = as_scores(values)
        columns[f"raw.{name}"] = values
        if name in layout.parts and "lineage" not in layout.parts:  # synthetic pairs need no scores
            absent = pl.when(pl.col(name).is_null()).then(pl.lit("is missing"))
            faults[f"{name} of the pair"] = columns[name].to_frame(name).select(absent).to_series()
        for aspect, path in aspects.items():
            values = column(frame, path)
            columns[f"{name}.{aspect}"], faults[f"{name}.{aspect}"] = as_scores(values)
            columns[f"raw.{name}.{aspect}"] = values
        if f"finish_{side}" in layout.parts:
            columns[f"finish_{side}"] = ending(column(frame, layout.parts[f"finish_{side}"]))
    for name, (highest, wrong) in BOUNDS.items():
        if name in layout.parts:
            values = column(frame, layout.parts[name])
            columns[name], faults[name] = as_scores(values)
            columns[f"raw.{name}"] = values
            outside = ~pl.col(name).is_between(0.0, highest)
            bounds = columns[name].to_frame(name).select(pl.when(outside).then(pl.lit(wrong)))
            faults[f"{name} of the pair"] = bounds.to_series()
    if "lineage" in layout.parts:
        columns["lineage"] = label(column(frame, layout.parts["lineage"]))
    faults["two completions"] = _sameness(rows)
    given = label(column(frame, layout.parts.get("pair_id")))
    own = rows.select(pl.format("{}/{}", "prompt_id", "row")).to_series()
    return with_fault(rows.with_columns(**columns, pair_id=given.fill_null(own)), faults)


def _sameness(rows: pl.DataFrame) -> pl.Series:
    """A fault where both completions are equal; plain texts are compared as such, which is faster than messages."""
    texts = all(rows.schema.get(f"raw.{side}") == pl.String for side in SIDES)
    prefix = "raw." if texts else ""
    both = rows.select(**{side: f"{prefix}{side}" for side in SIDES})
    if not texts:
        both = both.with_columns(bare_messages(both[side]).alias(side) for side in SIDES)
    same = pl.col("chosen") == pl.col("rejected")
    return both.select(pl.when(same).then(pl.lit("are the same"))).to_series()
