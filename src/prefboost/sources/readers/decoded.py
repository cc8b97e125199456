"""Readers whose records hold plain values: stored types as text, encoded conversations as messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from prefboost.errors import DataError, Place
from prefboost.sources.columns import NAMES, Columns, normalize_name
from prefboost.sources.layouts.layout import Layout
from prefboost.sources.messages.encoded import decode_list, decode_text, find_likely, looks_encoded, parse_literal
from prefboost.sources.readers.json_lines import build_frames_by_kind
from prefboost.sources.readers.raw import ROW, RawBatch, WrappedReader
from prefboost.sources.readers.storage_types import convert_stored_types
from prefboost.tables import REJECTS

__all__ = ["DECODED", "DecodedReader", "StoredReader", "find_encoded", "list_plain_columns"]

SAMPLE_TEXTS = 200
"""Number of a column's texts that decide whether they are encoded."""

LIKE_JSON = r"^\s*(?:array\()?\s*[\[{]"
LISTED = frozenset((*NAMES["completions"], *NAMES["history"], "scores", "ratings", "models", "ranks", "finish_reasons"))
"""Columns that hold lists, which some files (CSV above all) write as texts."""

BATTLE = ("prompt", "response_a", "response_b")
"""Lists of turns in the arena's competition data (lmsys-chatbot-arena), beside ``winner_model_a``."""

Kind = str | tuple[str, ...]
"""Kind of value that a column's texts encode: see `find_encoded`."""

BROKEN = "a column looks like an encoded conversation but cannot be decoded"

DECODED = "__decoded__"
"""Column of raw frames whose records hold a decoded text in a column of plain ones."""


@dataclass(frozen=True)
class StoredReader(WrappedReader):
    """A reader whose dictionaries, bytes and extension types become plain values."""

    def batches(self, columns: Sequence[str] | None, rows: int | None) -> Iterator[RawBatch]:
        """See `prefboost.sources.readers.files.Reader`."""
        for batch in self.reader.batches(columns, rows):
            yield RawBatch(
                tuple(plain for frame in batch.frames for plain in convert_stored_types(frame)), batch.rejects
            )


@dataclass(frozen=True)
class DecodedReader(WrappedReader):
    """A reader whose encoded columns hold the values that their texts encode.

    Records with other texts are passed on as they are; those whose text begins like an encoded conversation and cannot
    be decoded are rejects.

    Args:
        encoded: columns and what their texts encode.
        rare: whether few of these texts are expected to encode anything: only those that look so are taken apart, and
            the frames of their records get the column `DECODED`.
    """

    encoded: Mapping[str, Kind]
    rare: bool = False

    def batches(self, columns: Sequence[str] | None, rows: int | None) -> Iterator[RawBatch]:
        """See `prefboost.sources.readers.files.Reader`."""
        for batch in self.reader.batches(columns, rows):
            parts = [self._decode(frame) for frame in batch.frames]
            rejects = pl.concat([batch.rejects, *(aside for _, aside in parts)])
            yield RawBatch(tuple(frame for frames, _ in parts for frame in frames), rejects)

    def _decode(self, frame: pl.DataFrame) -> tuple[tuple[pl.DataFrame, ...], pl.DataFrame]:
        here = [name for name, kind in self.encoded.items() if _may_hold(frame.schema.get(name), kind)]
        if self.rare:
            # Texts become Python's only where some look encoded, which takes a hundredth of the time elsewhere.
            here = [name for name in here if find_likely(_explode_texts(frame[name], self.encoded[name])).any()]
        if not here:
            return (frame,), pl.DataFrame(schema=REJECTS)
        values = {name: [_decode_value(value, self.encoded[name]) for value in frame[name].to_list()] for name in here}
        changed = [any(value is not _SAME for value in cells) for cells in zip(*values.values(), strict=True)]
        if not any(changed):
            return (frame,), pl.DataFrame(schema=REJECTS)
        broken = [any(value is _BROKEN for value in cells) for cells in zip(*values.values(), strict=True)]
        records = []
        for at, record in enumerate(frame.iter_rows(named=True)):
            if changed[at] and not broken[at]:
                new = {name: column[at] for name, column in values.items() if column[at] is not _SAME}
                row = int(record.pop(ROW))
                records.append((row, {**record, **new}))
        # Decoded records may differ in type, which frames of one schema cannot hold.
        same = frame.filter(~pl.Series(changed))
        decoded = build_frames_by_kind(records)
        if self.rare:
            decoded = tuple(frame.with_columns(pl.lit(True).alias(DECODED)) for frame in decoded)
        return (*((same,) if same.height else ()), *decoded), self._build_rejects(frame.filter(pl.Series(broken)), here)

    def _build_rejects(self, frame: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
        return pl.DataFrame(
            [
                {
                    "stage": "read",
                    "path": self.path,
                    "row": record[ROW],
                    "id": None,
                    "reason": BROKEN,
                    "found": next(
                        f"{name}: {str(record[name])[:160]}"
                        for name in names
                        if _decode_value(record[name], self.encoded[name]) is _BROKEN
                    ),
                }
                for record in frame.iter_rows(named=True)
            ],
            schema=REJECTS,
        )


_SAME, _BROKEN = object(), object()


def _explode_texts(values: pl.Series, kind: Kind) -> pl.Series:
    """Return all texts of a column, those inside of lists and structs too."""
    inner = values.explode() if isinstance(values.dtype, pl.List) else values
    if not isinstance(kind, tuple):
        return inner
    fields = [inner.struct.field(name) for name in kind if name in inner.struct.fields]
    return pl.concat([texts.alias("t") for texts in fields if texts.dtype == pl.String] or [pl.Series("t", [""])])


def list_plain_columns(sample: pl.DataFrame, layout: Layout, columns: Columns) -> dict[str, Kind]:
    """List the columns of prompts and completions that hold plain texts, each with what a few of them may encode.

    Args:
        sample: the first records.
        layout: what its columns mean.
        columns: what the user named; ``plain`` columns are left alone.
    """
    plain: dict[str, Kind] = {}
    for part in ("prompt", "chosen", "rejected", "completion", "completions", "first", "second"):
        name = layout.parts.get(part, "")
        if name not in sample.columns or name in (*columns.plain, *layout.transcripts):
            continue
        dtype: Any = sample.schema[name]
        inside = (layout.parts["completion"],) if layout.shape == "nested" and part == "completions" else ()
        if inside and _may_hold(dtype, inside) and f"{name}.{inside[0]}" not in columns.plain:
            plain[name] = inside
        elif not inside and _may_hold(dtype, "messages"):
            plain[name] = "messages" if dtype == pl.String else "items"
    return plain


def _may_hold(dtype: Any, kind: Kind) -> bool:
    if isinstance(kind, tuple):
        return isinstance(dtype, pl.List) and isinstance(dtype.inner, pl.Struct)
    return dtype == pl.List(pl.String) if kind == "items" else dtype in (pl.String, pl.List(pl.String))


def _decode_value(value: Any, kind: Kind) -> Any:
    """Decode a value: `_SAME` where it encodes nothing, `_BROKEN` where that cannot be decided."""
    if isinstance(kind, tuple):
        columns = {name: _decode_items([item and item.get(name) for item in value or ()]) for name in kind}
        if _BROKEN in columns.values():
            return _BROKEN
        new = {name: items for name, items in columns.items() if items is not _SAME}
        return [
            item and {**item, **{name: items[at] for name, items in new.items() if name in item}}
            for at, item in enumerate(value)
        ] if new else _SAME  # fmt: skip
    if kind == "items":
        return _decode_items(value or ())
    if isinstance(value, str):
        if kind == "list":
            decoded = parse_literal(value) if value.strip() else None
            return decoded if isinstance(decoded, list) or not value.strip() else _SAME
        decoded = decode_text(value) if value.strip() else _SAME
        if decoded is None:
            return _BROKEN if looks_encoded(value) else _SAME
        return decoded
    items = None if value is None else list(value)
    return (decode_list(items) if items else None) or _SAME


def _decode_items(items: Sequence[Any]) -> Any:
    """Decode the completions of a record, to messages throughout where any of them encodes some."""
    decoded = [_decode_value(item, "messages") if isinstance(item, str) else _SAME for item in items]
    if _BROKEN in decoded or all(each is _SAME for each in decoded):
        return _BROKEN if _BROKEN in decoded else _SAME
    plain = [[{"role": "assistant", "content": item}] if isinstance(item, str) else item for item in items]
    return [plain[at] if each is _SAME else each for at, each in enumerate(decoded)]


def find_encoded(sample: pl.DataFrame, columns: Columns, path: str) -> dict[str, Kind]:
    """Find the columns of which most texts encode something, each with what.

    These are conversations (``messages``), lists where lists are due (``list``), lists of completions each of which is
    a conversation (``items``), and completions with fields that hold one (their names).

    Args:
        sample: the first records.
        columns: what the user named; ``plain`` columns are left alone.
        path: for the message.

    Raises:
        DataError: most texts of a column look like encoded conversations and cannot be decoded.
    """
    lists = {name for name in sample.columns if normalize_name(name) in LISTED} | {columns.completions, columns.history}
    if "winner_model_a" in sample.columns:
        lists |= {*BATTLE}
    answers = {name for name in sample.columns if normalize_name(name) in NAMES["completions"]} | {columns.completions}
    encoded: dict[str, Kind] = {}
    for name in sample.columns:
        if name in (*columns.plain, *columns.ignore, ROW):
            continue
        if name in answers and isinstance(sample.schema[name], pl.List):
            encoded |= _find_inside(sample[name], columns, path)
            continue
        texts = _list_texts(sample[name])
        if not texts:
            continue
        written = isinstance(texts[0], str)
        if name in lists and written and _hold_for_most(texts, lambda text: isinstance(parse_literal(text), list)):
            encoded[name] = "list"
        elif _encodes_messages(texts, name, path):
            encoded[name] = "messages"
    return encoded


def _encodes_messages(texts: Sequence[Any], name: str, path: str) -> bool:
    """Tell whether most of a column's texts encode messages; refuse what looks so and cannot be decoded."""
    if _hold_for_most(texts, lambda text: _decode_value(text, "messages") not in (_SAME, _BROKEN)):
        return True
    if isinstance(texts[0], str) and _hold_for_most(texts, looks_encoded):
        example = next(text for text in texts if looks_encoded(text))[:80]
        raise DataError(
            f"most texts of this column look like encoded conversations, but cannot be decoded, e.g. {example!r}",
            remedy=f"write messages instead, or declare the text as plain: columns.plain=[{name}]",
            place=Place(path, column=name),
        )
    return False


def _find_inside(completions: pl.Series, columns: Columns, path: str) -> dict[str, Kind]:
    """Find what a list of completions encodes, as `find_encoded` does: texts, or structs with fields of text."""
    name, items = completions.name, completions.head(SAMPLE_TEXTS).explode().drop_nulls()
    if items.dtype == pl.String:
        texts = _list_texts(items)
        return {name: "items"} if texts and _encodes_messages(texts, name, path) else {}
    if not isinstance(items.dtype, pl.Struct) or {"role", "content"} <= {item.name for item in items.dtype.fields}:
        return {}
    fields = {
        item.name: _list_texts(items.struct.field(item.name))
        for item in items.dtype.fields
        if item.dtype == pl.String and not {item.name, f"{name}.{item.name}"} & {*columns.plain}
    }
    encoded = tuple(
        field for field, texts in fields.items() if texts and _encodes_messages(texts, f"{name}.{field}", path)
    )
    return {name: encoded} if encoded else {}


def _hold_for_most(texts: Sequence[Any], holds: Any) -> bool:
    return sum(map(bool, map(holds, texts))) * 2 > len(texts)


def _list_texts(values: pl.Series) -> list[Any]:
    """List the first texts (or lists of texts) of a column that are not blank; none where no text looks like code."""
    if values.dtype == pl.String:
        texts = values.drop_nulls().filter(values.drop_nulls().str.contains(r"\S")).head(SAMPLE_TEXTS)
        odd = texts.str.contains(f"{LIKE_JSON}|<|\\[INST\\]")
        return texts.to_list() if odd.any() else []
    if values.dtype == pl.List(pl.String):
        return [items for items in values.drop_nulls().head(SAMPLE_TEXTS).to_list() if items]
    return []
