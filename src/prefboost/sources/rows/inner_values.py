"""Values of a part wherever a layout keeps it: in its own column, in a list, or inside a list of structs."""

from __future__ import annotations

from typing import Any

import polars as pl

from prefboost.sources.columns import dtype_at, expr_at
from prefboost.sources.layouts.layout import Layout
from prefboost.sources.rows.parts import column

__all__ = ["holder_of", "inner_values"]


def holder_of(layout: Layout, part: str) -> str:
    """The column of a record that holds a part: that of the completions where it is a field of each of them."""
    nested = layout.shape == "nested" and part in ("completion", "completion_id", "score", "rank")
    return layout.parts["completions" if nested else part]


def inner_values(frame: pl.DataFrame, layout: Layout, part: str) -> pl.Series:
    """All values of a part in the records of a frame, completion by completion; none where it is not there."""
    values = column(frame, holder_of(layout, part))
    if not isinstance(values.dtype, pl.List | pl.Array):
        return values
    items = values.explode()
    if layout.shape != "nested":
        return items
    inner: Any = items.dtype
    schema: dict[str, Any] = {item.name: item.dtype for item in inner.fields} if isinstance(inner, pl.Struct) else {}
    path = layout.parts[part]
    if not schema or dtype_at(schema, path) is None:
        return pl.Series([], dtype=pl.String)
    return items.struct.unnest().select(expr_at(schema, path)).to_series()
