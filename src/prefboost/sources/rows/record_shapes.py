"""The shapes of sources: how their records become rows, and the tables that these make up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from prefboost.sources.layouts.layout import Layout
from prefboost.sources.rows.comparisons import convert_preferences
from prefboost.sources.rows.completions import INDEX, convert_flat, convert_nested, convert_parallel
from prefboost.sources.rows.pairs import convert_pairs
from prefboost.sources.rows.parts import convert_prompts
from prefboost.tables import COMPLETIONS, PREFERENCE_PAIRS, PROMPTS, SCORED_COMPLETIONS, TableSpec

__all__ = ["PAIRS", "SHAPES", "RecordShape", "concat_declared"]


@dataclass(frozen=True)
class RecordShape:
    """A shape: the function that converts its records, and the tables that they become with and without scores."""

    rows: Callable[[pl.DataFrame, Layout], pl.DataFrame]
    unit: str
    scored: TableSpec
    bare: TableSpec


SHAPES = {
    "nested": RecordShape(convert_nested, "completions", SCORED_COMPLETIONS, COMPLETIONS),
    "parallel": RecordShape(convert_parallel, "completions", SCORED_COMPLETIONS, COMPLETIONS),
    "flat": RecordShape(convert_flat, "completions", SCORED_COMPLETIONS, COMPLETIONS),
    "pairs": RecordShape(convert_pairs, "pairs", PREFERENCE_PAIRS, PREFERENCE_PAIRS),
    "preference": RecordShape(convert_preferences, "pairs", PREFERENCE_PAIRS, PREFERENCE_PAIRS),
    "prompts": RecordShape(convert_prompts, "prompts", PROMPTS, PROMPTS),
}
"""Every shape of `Layout.shape`."""

PAIRS = ("pairs", "preference")
"""Shapes whose records are comparisons by themselves."""


def concat_declared(frames: list[pl.DataFrame], layout: Layout, spec: TableSpec) -> pl.DataFrame:
    """Stack the declared columns of converted rows in the order of the file; without rows, make them empty."""
    families = tuple(item.name.removesuffix("*") for item in spec.columns if item.name.endswith(".*"))
    if not frames:
        columns = {item.name: item.dtype for item in spec.columns if item.required or item.name in layout.parts}
        starred = [item for item in spec.columns if item.name.endswith(".*")]
        columns |= {item.name[:-1] + aspect: item.dtype for item in starred for aspect in layout.aspects}
        return pl.DataFrame(schema=columns)
    names = {INDEX, *(item.name for item in spec.columns)}
    declared = [
        frame.select(name for name in frame.columns if name in names or name.startswith(families)) for frame in frames
    ]
    if len(declared) == 1:
        return declared[0]
    order = ["row", *([INDEX] if INDEX in declared[0].columns else [])]
    return pl.concat(declared, how="diagonal").sort(order)
