"""Stored types that mean text or JSON as plain values: dictionaries, bytes, and Arrow's extension types."""

from __future__ import annotations

import json
from typing import Any

import polars as pl

from prefboost.sources.readers.json_lines import build_frames_by_kind
from prefboost.sources.readers.raw import ROW, make_storable

__all__ = ["convert_stored_types"]

JSON_TYPE = "arrow.json"
"""Arrow's extension type of JSON texts, in which ``datasets`` keeps its feature ``Json()``."""


def convert_stored_types(frame: pl.DataFrame) -> tuple[pl.DataFrame, ...]:
    """Convert dictionaries and bytes to texts, and JSON columns to the values that they hold.

    Bytes that are no UTF-8 become NUL, which is refused later. Records with JSON columns may differ in type and then
    come in several frames.
    """
    odd = {name: dtype for name, dtype in frame.schema.items() if _find_plain_type(dtype) != dtype}
    if not odd:
        return (frame,)
    if any(_holds_json(dtype) for dtype in odd.values()):
        records = []
        for record in frame.iter_rows(named=True):
            row = int(record.pop(ROW))
            records.append((row, {name: _convert_value(value, frame.schema[name]) for name, value in record.items()}))
        return build_frames_by_kind(records)
    columns = {}
    for name, dtype in odd.items():
        plain = _find_plain_type(dtype)
        try:
            columns[name] = frame[name].cast(plain)
        except pl.exceptions.PolarsError:  # bytes that are no UTF-8
            columns[name] = pl.Series([_convert_value(value, dtype) for value in frame[name].to_list()], dtype=plain)
    return (frame.with_columns(values.alias(name) for name, values in columns.items()),)


def _find_plain_type(dtype: Any) -> Any:
    if isinstance(dtype, pl.BaseExtension):
        return _find_plain_type(dtype.ext_storage())
    if isinstance(dtype, pl.List):
        return pl.List(_find_plain_type(dtype.inner))
    if isinstance(dtype, pl.Array):
        return pl.Array(_find_plain_type(dtype.inner), dtype.size)
    if isinstance(dtype, pl.Struct):
        if {item.name for item in dtype.fields} == {"bytes", "path"}:  # an image or a sound of the hub
            return dtype
        return pl.Struct({item.name: _find_plain_type(item.dtype) for item in dtype.fields})
    return pl.String() if dtype == pl.Binary or isinstance(dtype, pl.Categorical | pl.Enum) else dtype


def _holds_json(dtype: Any) -> bool:
    if isinstance(dtype, pl.BaseExtension):
        return True
    if isinstance(dtype, pl.Struct):
        return any(_holds_json(item.dtype) for item in dtype.fields)
    return isinstance(dtype, pl.List | pl.Array) and _holds_json(dtype.inner)


def _convert_value(value: Any, dtype: Any) -> Any:
    if value is None:
        return None
    if isinstance(dtype, pl.BaseExtension):
        if dtype.ext_name() != JSON_TYPE or not isinstance(value, str):
            return _convert_value(value, dtype.ext_storage())
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    if isinstance(dtype, pl.List | pl.Array):
        return [_convert_value(item, dtype.inner) for item in value]
    if isinstance(dtype, pl.Struct):
        return {item.name: _convert_value(value[item.name], item.dtype) for item in dtype.fields}
    return make_storable(value.decode("utf-8", "surrogateescape")) if isinstance(value, bytes) else value
