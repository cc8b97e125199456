"""Columns that could belong to the question and play no part in the layout: without them another question is asked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import polars as pl

from prefboost.errors import DataError, Place
from prefboost.sources.columns import normalize_name
from prefboost.sources.layouts.layout import Layout
from prefboost.sources.messages.conversations import ROLE_KEYS
from prefboost.sources.readers.raw import ROW
from prefboost.tables import Table

__all__ = [
    "UNMAPPED",
    "count_unmapped",
    "holds_value",
    "looks_like_question",
    "refuse_unmapped",
    "suggest_remedy",
    "sum_unmapped",
]

UNMAPPED = "columns that could change the question"
"""Note of the step ``read``: column -> in how many records it holds something, and the first of them."""

OTHERS = re.compile(
    r"(generation|labell?ing|labell?er|judge|judg(e?)ment|eval|evaluation|evaluator|annotat\w*|chosen|rejected|response\d?"
    r"|completion|answer|output|reward|rm|rating|score|critic|critique|feedback|num|n|count|len|length|is|has|was)_"
)
"""Pattern of how names begin of columns that are about the answers, or only about the question."""

COPIES = re.compile(r"(original|orig|raw|full|formatted|rendered|templated|tokenized|rewritten|source)_")

PROMPT_WORDS = (
    "prompt|instruction|question|query|querie|input|problem|conversation|message|dialog|dialogue|chat|turn|user_input"
)
CONTEXT_WORDS = (
    "context|history|system|persona|profile|scenario|situation|background|knowledge|evidence|fact|passage|document|doc"
    "|article|title|headline|body|abstract|transcript|paragraph|story|storie|excerpt|premise|hypothesi|snippet|table|post|selftext|tool|function|tool_schema"
    "|image|img|picture|photo|pixel_value|video|audio|speech|media|attachment|choice|option|example|demonstration"
    "|few_shot|fewshot|shot|constraint|requirement|hint|memory|memorie|search_result|retrieved|reference_text|source_text"
)
SUFFIX = (
    r"s?(_(text|texts|path|paths|url|urls|list|json|content|contents|prompt|message|messages|data|bytes|b64|base64"
    r"|string|str|turns|info|block|description|before|so_far|\d+))?"
)

PROMPT_LIKE = re.compile(rf"(\w+_)?({PROMPT_WORDS}){SUFFIX}")
CONTEXT_LIKE = re.compile(rf"(\w+_)?({CONTEXT_WORDS}){SUFFIX}")

MEDIA_LIKE = re.compile(
    r"(\w+_)?(tool|function|image|img|picture|photo|pixel_value|video|audio|speech|media|attachment).*"
)
"""Of these, what no prompt of text can hold."""

NOTHING = ("", "[]", "{}", "null", "none", "nan", "n/a", "[null]", '""')
"""Texts that hold nothing, in lower case."""


def looks_like_question(name: str) -> bool:
    """Tell whether a column of this name could be a part of the question."""
    plain = normalize_name(name)
    if OTHERS.match(plain):
        return False
    if CONTEXT_LIKE.fullmatch(plain):
        return True
    return PROMPT_LIKE.fullmatch(plain) is not None and COPIES.match(plain) is None


def holds_value(value: pl.Expr, dtype: Any) -> pl.Expr:
    """Tell whether a text, list or struct holds anything; numbers, dates and truth values always do."""
    if dtype == pl.Null:
        return pl.lit(False)
    if dtype == pl.String:
        return value.str.strip_chars().str.to_lowercase().is_in(NOTHING).not_().fill_null(False)
    if isinstance(dtype, pl.Array):
        return holds_value(value.arr.to_list(), pl.List(dtype.inner))
    if isinstance(dtype, pl.List):
        return value.list.eval(holds_value(pl.element(), dtype.inner)).list.any().fill_null(False)
    if isinstance(dtype, pl.Struct):
        if not dtype.fields:
            return pl.lit(False)
        return pl.any_horizontal(holds_value(value.struct.field(item.name), item.dtype) for item in dtype.fields)
    return value.is_not_null()


def count_unmapped(frame: pl.DataFrame, layout: Layout) -> dict[str, dict[str, int]]:
    """Count, for each column that could change the question, the records that hold it, and give the first of them.

    A column counts where its name says that it may be a part of the question, no part of the layout uses it, and it
    holds a text that stands in none of the columns that are used (a copy of the prompt changes nothing).
    """
    used = layout.list_heads(frame.columns)
    parts = [layout.parts[part] for part in ("prompt", "system", "history") if part in layout.parts]
    asks = [name for name in used if any(f"{path}.".startswith(f"{name}.") for path in (*parts, *layout.further))]
    counts = {}
    for name in frame.columns:
        dtype = frame.schema[name]
        holds_text = dtype.is_nested() or dtype in (pl.String, pl.Binary)
        if name in (*used, *layout.ignored, ROW) or not holds_text or not looks_like_question(name):
            continue
        # A copy of the question is looked for where the question is; a conversation's copy holds the answers too.
        beside = used if dtype.is_nested() or "prompt" not in layout.parts else asks
        rows = frame.filter(holds_value(pl.col(name), dtype)).select(ROW, name, *beside)
        apart = []
        for row, value, *others in rows.iter_rows():
            whole = "\n".join(_walk_texts(others))
            if not all(text.strip() in whole for text in _walk_texts(value)):
                apart.append(int(row))
        if apart:
            counts[name] = {"records": len(apart), "first": min(apart)}
    return counts


def sum_unmapped(parts: Iterable[Mapping[str, Mapping[str, int]]]) -> dict[str, dict[str, int]]:
    """Sum the counts of several parts of a source."""
    whole: dict[str, dict[str, int]] = {}
    for part in parts:
        for name, counts in part.items():
            held = whole.get(name, {"records": 0, "first": counts["first"]})
            whole[name] = {
                "records": held["records"] + counts["records"],
                "first": min(held["first"], counts["first"]),
            }
    return whole


def _walk_texts(value: Any) -> Iterator[str]:
    """Yield all texts at any depth, except names of speakers; bytes and numbers as they are written."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key not in ROLE_KEYS:
                yield from _walk_texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _walk_texts(item)
    elif value is not None:
        yield value if isinstance(value, str) else str(value)


def refuse_unmapped(table: Table) -> Table:
    """Return the table, unless columns that could change the question were left out of it.

    Raises:
        DataError: names the column, in how many records it holds something, and the first of them.
    """
    notes = next((step.notes for step in table.steps if step.verb == "read"), {})
    unmapped = notes.get(UNMAPPED, {})
    if not unmapped:
        return table
    name, counts = max(unmapped.items(), key=lambda item: item[1]["records"])
    raise DataError(
        f"the column {name!r} may belong to the question and plays no part: it holds something of its own in "
        f"{counts['records']:,} records, first in row {counts['first']:,}"
        + (f" (so do {', '.join(repr(other) for other in unmapped if other != name)})" if len(unmapped) > 1 else ""),
        remedy=suggest_remedy(name, notes.get("guess", {}), tuple(unmapped)),
        place=Place(table.path, row=counts["first"], column=name),
    )


def suggest_remedy(name: str, guess: Mapping[str, Any], unmapped: tuple[str, ...] = ()) -> str:
    """Suggest what to do about a column that may belong to the question.

    Args:
        name: the column.
        guess: what the columns were taken for.
        unmapped: all columns like it, to be ignored together.
    """
    prompt = guess.get("prompt")
    prompts = [prompt] if isinstance(prompt, str) else list(prompt or ())
    follows = f"columns.prompt=[{','.join([*prompts, name])}] for text that follows the prompt"
    media = MEDIA_LIKE.fullmatch(normalize_name(name)) is not None
    named = "it is read by no model of text; " if media else f"name it ({follows}, or columns.system={name}), or "
    return f"{named}leave it out on purpose: columns.ignore=[{','.join(unmapped or (name,))}]"
