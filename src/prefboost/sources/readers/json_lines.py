"""JSON lines to frames: Polars for blocks of regular lines, line by line where they are malformed or of mixed types."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import polars as pl

from prefboost.sources.messages.keys import fold_keys, has_further_keys
from prefboost.sources.readers.encodings import NOT_UTF8
from prefboost.sources.readers.raw import ROW, RawBatch, add_row_numbers, build_line_rejects, make_storable
from prefboost.sources.readers.text_files import Block

__all__ = ["build_frames_by_kind", "parse_block"]

NOT_JSON = "the line is not a JSON object"
LOOKS_LIKE_JSON = r"^\s*[\[{]"


def parse_block(block: Block, first_row: int, path: str) -> RawBatch:
    """Parse the records of a block. Row numbers count non-blank lines from ``first_row``.

    Polars parses the whole block at once unless a line is malformed or a field changes its type from line to line;
    such blocks are parsed line by line, malformed lines are rejected and the others grouped by the types they hold.
    """
    frame = _parse_whole(block.text)
    if frame is not None:
        return RawBatch((add_row_numbers(frame, first_row),))
    good: list[tuple[int, dict[str, Any]]] = []
    bad: list[tuple[int, int, str, str, str]] = []
    row = first_row
    for number, line in enumerate(block.text.split(b"\n"), block.line):
        if not line.strip():
            continue
        reason, wrong = NOT_JSON, ""
        try:
            record = json.loads(line.decode("utf-8"))
            wrong = "" if isinstance(record, dict) else f"a JSON {type(record).__name__} instead of an object"
        except UnicodeDecodeError as error:
            reason, wrong = NOT_UTF8, str(error)
        except (ValueError, RecursionError) as error:
            wrong = str(error)
        if wrong:
            bad.append((row, number, reason, wrong, line[:160].decode("utf-8", "backslashreplace")))
        else:
            good.append((row, record))
        row += 1
    return RawBatch(build_frames_by_kind(good), build_line_rejects(bad, path))


def _parse_whole(text: bytes) -> pl.DataFrame | None:
    if b"\n" not in text and not text.strip():
        return None
    try:
        frame = pl.read_ndjson(io.BytesIO(text), infer_schema_length=None)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, ValueError):
        return None
    # A line of several values, or one that was skipped, shows as another number of records.
    count = sum(1 for line in text.split(b"\n") if line.strip())
    if frame.width == 0 or frame.height != count or has_further_keys(frame.schema):
        return None
    # Polars writes a structure into text where other lines hold text; such blocks are taken apart.
    suspects = {name for column in frame.get_columns() for name in _find_structured_texts(column)}
    for key in (json.dumps(name).encode() for name in suspects):
        # Somewhere the key has a list or an object as value, or it is written in an unusual way.
        if key not in text or re.search(re.escape(key) + rb"\s*:\s*[\[{]", text):
            return None
    return frame


def _find_structured_texts(values: pl.Series) -> Iterator[str]:
    """Yield names of text fields, at any depth, in which some text begins like a JSON list or object."""
    if values.dtype == pl.String:
        if values.str.contains(LOOKS_LIKE_JSON).any():
            yield values.name
    elif isinstance(values.dtype, pl.List):
        yield from _find_structured_texts(values.explode())
    elif isinstance(values.dtype, pl.Struct):
        # Unnested, since a field called "*" or "^x$" would be taken for a pattern of names.
        for column in values.struct.unnest().get_columns():
            yield from _find_structured_texts(column)


def build_frames_by_kind(records: Sequence[tuple[int, dict[str, Any]]]) -> tuple[pl.DataFrame, ...]:
    """Build frames of records with their row numbers, one for each combination of types that the records hold."""
    groups: dict[Hashable, list[tuple[int, dict[str, Any]]]] = {}
    for row, record in ((row, fold_keys(record)) for row, record in records):
        groups.setdefault(_list_kinds(record), []).append((row, record))
    return tuple(
        frame.with_columns(pl.Series(ROW, rows, dtype=pl.Int64))
        for members in groups.values()
        for rows, frame in _build_frames(members)
    )


def _build_frames(members: list[tuple[int, dict[str, Any]]]) -> Iterator[tuple[list[int], pl.DataFrame]]:
    """Build one frame of records of equal types; those that Polars cannot hold together get frames of their own."""
    rows = [row for row, _ in members]
    records = [_convert_value(record) for _, record in members]
    try:
        frame = pl.DataFrame(records, infer_schema_length=None, strict=False)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, TypeError, ValueError, OverflowError):
        # Halving parts the records that clash after few attempts; most stay together.
        if len(members) > 1:
            middle = len(members) // 2
            yield from _build_frames(members[:middle])
            yield from _build_frames(members[middle:])
        else:
            yield rows, pl.DataFrame({name: [json.dumps(value)] for name, value in records[0].items()})
        return
    yield rows, frame if frame.width else pl.DataFrame({"": [None] * len(rows)})


def _convert_value(value: Any) -> Any:
    """Convert a value to what a frame can hold: no lone surrogates, vast integers as floats, 42.0 as 42 (beside
    texts both become texts, and Polars' own reader of JSON lines drops the zero).
    """
    if isinstance(value, str):
        return make_storable(value)
    if isinstance(value, dict):
        return {_convert_value(key): _convert_value(item) for key, item in value.items()}
    if isinstance(value, list):
        contents = [item.get("content") for item in value if isinstance(item, dict)]
        # Where some contents of a conversation are texts and others lists of parts, all become lists of parts.
        if len(contents) == len(value) and {type(each) for each in contents} - {type(None)} == {str, list}:
            parts = [[{"type": "text", "text": each}] if isinstance(each, str) else each for each in contents]
            value = [{**item, "content": content} for item, content in zip(value, parts, strict=True)]
        return [_convert_value(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return float(value) if isinstance(value, int) and not -(2**63) <= value < 2**63 else value


def _list_kinds(value: Any) -> Hashable:
    """List the types that a value holds, numbers being one type, null fitting all."""
    if isinstance(value, dict):
        return frozenset((key, _list_kinds(item)) for key, item in value.items() if item is not None)
    if isinstance(value, list):
        return ("list", frozenset(_list_kinds(item) for item in value if item is not None))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "number"
    return type(value).__name__
