"""Contents given as parts, ``[{"type": "text", "text": ...}]`` (OpenAI's chat format, TRL's conversational one)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from prefboost.chat.contents import TEXT_TYPES

__all__ = ["NOT_TEXT_PART", "are_parts", "has_other_parts", "join_part_texts"]

NOT_TEXT_PART = "has a part that is not text (an image, audio, ...)"


def are_parts(dtype: Any) -> bool:
    """Tell whether contents of this type are lists of parts."""
    return isinstance(dtype, pl.List) and isinstance(dtype.inner, pl.Struct) and "type" in _list_fields(dtype)


def join_part_texts(contents: pl.Expr, dtype: pl.List) -> pl.Expr:
    """Join the texts of each content's parts as `prefboost.chat.contents.join_parts` does; empty where none is."""
    if _list_fields(dtype).get("text") != pl.String:
        return pl.lit("", dtype=pl.String)
    return contents.list.eval(pl.element().struct.field("text")).list.drop_nulls().list.join("")


def has_other_parts(contents: pl.Expr, dtype: pl.List) -> pl.Expr:
    """Tell whether a content has a part that is no text, which would be lost."""
    element, fields = pl.element().struct, _list_fields(dtype)
    if fields["type"] != pl.String:
        return contents.list.len() > 0
    kind = element.field("type").is_in(list(TEXT_TYPES)).fill_null(False)
    text = element.field("text").is_not_null() if fields.get("text") == pl.String else pl.lit(False)
    return contents.list.eval((kind & text).not_()).list.any()


def _list_fields(dtype: pl.List) -> Mapping[str, Any]:
    inner: Any = dtype.inner
    return {item.name: item.dtype for item in inner.fields}
