"""Keys of messages besides role and text, taken out of JSON before a frame would make all messages alike.

A frame has one type per column: it fills absent keys with nulls, gives all messages one order of keys, and turns 75001
into text where another row's value is text. The further keys of each message (tool calls, names, ids) become one JSON
text of their own, ``extra``, exactly as the source has them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from prefboost.chat import ROLES
from prefboost.chat.contents import are_text_parts, join_parts
from prefboost.chat.messages import extra_of
from prefboost.sources.readers.json_objects import parse_object

__all__ = [
    "KEYS",
    "KNOWN_ROLES",
    "ROLE_NAMES",
    "TOOL_COLUMNS",
    "drop_notes",
    "fold_keys",
    "has_further_keys",
    "is_read",
    "drop_filled_nulls",
    "has_further_values",
]

ROLE_NAMES = {
    "human": "user", "prompter": "user", "User": "user", "Human": "user",
    "gpt": "assistant", "bot": "assistant", "model": "assistant", "chatgpt": "assistant", "chatbot": "assistant",
    "Assistant": "assistant", "developer": "system", "System": "system", "function": "tool", "observation": "tool",
}  # fmt: skip
"""Names of the four roles in published data."""

KNOWN_ROLES = frozenset((*ROLES, *ROLE_NAMES))
"""All names of roles."""

KEYS = (("role", "content"), ("from", "value"))
"""Names of role and text in messages that have further keys."""

TOOL_COLUMNS = ("tools", "functions", "tool_schemas", "available_tools")
"""Columns with the tools of the whole conversation: a list of JSON schemas."""


READ_KEYS = (
    "tool_calls", "tool_call_id", "function_call", "tool_name", "tool_plan", "tool_results", "tool_responses", "name",
    "reasoning_content", "reasoning", "thinking", "refusal", "documents", "citations", "channel", "recipient", "tools",
    "functions", "conversation_tools", "audio", "image", "images", "video",
)  # fmt: skip
"""Keys of messages that chat templates in use read. Others (``toxic``, ``id``, ``timestamp``) are mere notes."""

_READ = rf'"(?:{"|".join(READ_KEYS)})": ?(?:"[^"]|[0-9tf-]|\[\s*[^\]\s]|\{{\s*[^}}\s])'

_ONLY_NULLS = r'^\{("(?:[^"\\]|\\.)*": (null|""),? ?)*\}$'
"""An ``extra`` in which no key has a value."""


_ONLY_PARTS = r'^\{"content": \[(\{("(?:[^"\\]|\\.)*"(: |, )?)*\}(, )?)*\]\}$'
"""An ``extra`` that says only in which parts the source gives the content."""


def has_further_values(extra: pl.Expr) -> pl.Expr:
    """Return whether messages have further keys with values: null where the source wrote null is nothing to lose."""
    nothing = extra.str.contains(_ONLY_NULLS) | extra.str.contains(_ONLY_PARTS)
    return extra.is_not_null() & nothing.not_().fill_null(False)


def is_read(extra: pl.Expr) -> pl.Expr:
    """Return whether further keys change what a chat template writes, as tool calls do, and hold something."""
    return extra.str.contains(_READ).fill_null(False)


def drop_notes(lists: pl.Series) -> pl.Series:
    """Return messages without notes (keys that no template reads), by which it is told whether two are the same."""
    inner = lists.drop_nulls().explode().drop_nulls()
    if inner.is_empty() or inner.struct.field("extra").null_count() == inner.len():
        return lists
    element = pl.element().struct
    extra = pl.when(is_read(element.field("extra"))).then(element.field("extra")).alias("extra")
    bare = pl.struct(element.field("role"), element.field("content"), extra)
    return lists.to_frame("m").select(pl.col("m").list.eval(bare)).to_series()


def drop_filled_nulls(value: Any, dtype: Any) -> Any:
    """Return a value without the nulls that a frame may have filled in.

    A column has one type, so that every struct has the fields of all of them. Entries of a map are each row's own, and
    a null among them is what the source has.

    Args:
        value: as Python or JSON has it.
        dtype: of the column that it comes from; None where it is not known: all nulls in objects are left out.
    """
    if isinstance(value, list):
        return [drop_filled_nulls(item, getattr(dtype, "inner", None)) for item in value]
    if not isinstance(value, dict):
        return value
    map_type = getattr(pl, "Map", None)  # older releases of Polars read maps as lists
    if map_type is not None and isinstance(dtype, map_type):
        return {key: drop_filled_nulls(item, dtype.value) for key, item in value.items()}
    fields = {item.name: item.dtype for item in dtype.fields} if isinstance(dtype, pl.Struct) else {}
    return {key: drop_filled_nulls(item, fields.get(key)) for key, item in value.items() if item is not None}


def fold_keys(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record whose messages have their further keys in ``extra``, and whose tools are JSON text."""
    return {
        key: json.dumps(value, ensure_ascii=False)
        if key in TOOL_COLUMNS and isinstance(value, list | dict)
        else _fold(value)
        for key, value in record.items()
    }


def has_further_keys(schema: Mapping[str, pl.DataType] | Iterable[tuple[str, pl.DataType]]) -> bool:
    """Return whether some field of a schema, at any depth, holds messages with further keys, or tools."""
    fields = schema.items() if isinstance(schema, Mapping) else schema
    return any(_has_message_keys(dtype) or (name in TOOL_COLUMNS and dtype.is_nested()) for name, dtype in fields)


def _has_message_keys(dtype: Any) -> bool:
    if isinstance(dtype, pl.List | pl.Array):
        return _has_message_keys(dtype.inner)
    if not isinstance(dtype, pl.Struct):
        return False
    fields = {item.name: item.dtype for item in dtype.fields}
    keys = next((pair for pair in KEYS if pair[0] in fields), None)
    if keys is not None and fields[keys[0]] == pl.String:
        if set(fields) - {*keys, "extra"}:
            return True
        part: Any = getattr(fields.get(keys[1]), "inner", None)  # of a content in parts
        if isinstance(part, pl.Struct) and {item.name for item in part.fields} - {"type", "text"}:
            return True
    return any(_has_message_keys(inner) for inner in fields.values())


def _fold(value: Any) -> Any:
    if isinstance(value, list):
        keys = _find_message_keys(value)
        return [_fold(item) for item in value] if keys is None else [_fold_message(item, keys) for item in value]
    if isinstance(value, Mapping):
        keys = _find_message_keys([value])
        return {key: _fold(item) for key, item in value.items()} if keys is None else _fold_message(value, keys)
    return value


def _find_message_keys(items: Sequence[Any]) -> tuple[str, str] | None:
    """Find the keys of role and text, if all of the items are messages."""
    for role, text in KEYS:
        if items and all(
            isinstance(item, Mapping) and isinstance(item.get(role), str) and item[role] in KNOWN_ROLES
            for item in items
        ):
            return role, text
    return None


def _fold_message(message: Mapping[str, Any], keys: tuple[str, str]) -> dict[str, Any]:
    role, text = keys
    extra = message.get("extra")
    content = message.get(text)
    if are_text_parts(content):
        return {role: message[role], text: join_parts(content), "extra": extra_of(message, role, text)}
    folded = extra is None or (isinstance(extra, str) and parse_object(extra) is not None)
    if folded and set(message) <= {role, text, "extra"}:
        return dict(message)
    return {role: message[role], text: content, "extra": extra_of(message, role, text)}
