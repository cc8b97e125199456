"""JSON files that hold no rows as they are expected: one object of columns or around the rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from prefboost.errors import Place, UnreadableFile

__all__ = ["parse_object", "refuse_single_object"]

_AS_LINES = 'one object per row, e.g. pandas.DataFrame(...).to_json(FILE, orient="records", lines=True)'


def refuse_single_object(text: bytes, path: str) -> None:
    """Refuse a file whose text begins with one JSON object that is no row.

    Args:
        text: the beginning of the file, or all of it.
        path: for the message.

    Raises:
        UnreadableFile: the object holds columns, or rows in a list of its own, or stands on several lines.
    """
    start = text.lstrip(b"\xef\xbb\xbf \t\r\n")
    line, _, rest = start.partition(b"\n")
    if not line.startswith(b"{") or (parse_object(line) is not None and rest.strip()):
        return  # lines of objects, or nothing that this is about
    whole = parse_object(start)
    fault = None if whole is None else _describe_object(whole)
    if fault is None and rest.strip() and (whole is not None or _begins_an_object(start)):
        fault = "a JSON object stands on several lines", "write one object a line, e.g. jq -c . FILE > FILE.jsonl"
    if fault is not None:
        raise UnreadableFile(fault[0], remedy=fault[1], place=Place(path))


def parse_object(text: str | bytes) -> dict[str, Any] | None:
    """Parse a text of JSON that is an object; None where it is anything else."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _begins_an_object(text: bytes) -> bool:
    """Tell whether an object of several lines is at the beginning, and no lines of objects follow it."""
    decoded = text.decode("utf-8", "replace")
    try:
        _, end = json.JSONDecoder().raw_decode(decoded)
    except (ValueError, RecursionError):
        return False
    behind = decoded[end : end + 100_000].split("\n")[:20]
    return "\n" in decoded[:end] and not any(parse_object(line.encode("utf-8", "replace")) for line in behind)


def _describe_object(value: Mapping[str, Any]) -> tuple[str, str] | None:
    """Describe an object that holds rows, and what to do about it; None for an object that is a row.

    These are columns as pandas writes them by default, as its ``orient="list"`` and as its ``orient="split"``; rows by
    name or by split; and rows in a list of an object: ``{"data": [{...}, ...], "version": 1}``.
    """
    if isinstance(value.get("columns"), list) and isinstance(value.get("data"), list):
        return (
            f"the file holds one object of columns ({_list_names(value['columns'])}) and their data, not rows",
            _AS_LINES,
        )
    columns = list(value.values())
    splits = [name for name in value if name in ("train", "validation", "valid", "dev", "test")]
    if len(splits) > 1 and all(isinstance(value[name], list) for name in splits):
        remedy = f"write each into a file of its own, e.g. jq -c '.{splits[0]}[]' FILE > {splits[0]}.jsonl"
        return f"the file holds the rows of several splits ({_list_names(splits)}) in one object", remedy
    named = {key for column in columns if isinstance(column, dict) for key in column}
    if (
        len(columns) > 1
        and all(isinstance(column, dict) and named == set(column) for column in columns)
        and not _is_numbered(dict.fromkeys(named))
    ):
        return f"the file holds one object of rows by name ({_list_names(value)})", "jq -c '.[]' FILE > FILE.jsonl"
    lists = all(isinstance(column, list) for column in columns) and len({len(column) for column in columns}) == 1
    indexed = all(isinstance(column, dict) and _is_numbered(column) for column in columns)
    if len(columns) > 1 and (indexed or (lists and columns[0] and not any(map(_is_conversation, columns)))):
        return f"the file holds one object of columns ({_list_names(value)}), not rows", _AS_LINES
    rows = [
        name
        for name, inner in value.items()
        if isinstance(inner, list) and len(inner) and all(isinstance(each, dict) and len(each) > 1 for each in inner)
    ]
    texts = [name for name, inner in value.items() if isinstance(inner, str) and name not in _ABOUT]
    if len(rows) != 1 or texts or rows[0] not in _WRAPPERS or _is_conversation(value[rows[0]]):
        return None
    return (
        f"the rows stand in the list {rows[0]!r} of one object",
        f"write them alone, one per line, e.g. jq -c '.{rows[0]}[]' FILE > FILE.jsonl",
    )


_WRAPPERS = ("data", "rows", "records", "examples", "items", "instances", "train", "test", "samples", "results")

_ABOUT = ("version", "name", "title", "description", "split", "license", "date", "source", "url")
"""Keys beside the rows in such an object."""


def _is_numbered(column: Mapping[str, Any]) -> bool:
    return bool(column) and all(name.isdigit() for name in column)


def _is_conversation(column: Any) -> bool:
    """Tell whether a list is a row's own conversation or completions: objects, not a column's values."""
    items = column if isinstance(column, list) else ()
    return any(isinstance(each, dict) and {"role", "from"} & set(each) for each in items)


def _list_names(columns: Any) -> str:
    return ", ".join(map(str, list(columns)[:6]))
