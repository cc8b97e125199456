"""Values of a part wherever a layout keeps it: in its own column, in a list, or inside a list of structs."""

from __future__ import annotations

from typing import Any

import polars as pl

from prefboost.sources.columns import build_expression, find_dtype
from prefboost.sources.layouts.layout import Layout
from prefboost.sources.rows.parts import read_column

__all__ = ["find_holder", "read_inner_values"]


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
