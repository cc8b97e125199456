"""Texts, chats and transcripts of any spelling to messages, column by column, with what is wrong row by row."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from itertools import pairwise
from typing import Any

import polars as pl

from prefboost.chat import ROLES, Message
from prefboost.chat.contents import TEXT_TYPES
from prefboost.sources.messages.keys import ROLE_NAMES, drop_filled_nulls, drop_notes, is_read
from prefboost.tables import MESSAGES

__all__ = [
    "NOT_TEXT_PART",
    "NULL_KEYS",
    "are_parts",
    "convert_messages",
    "count_null_keys",
    "find_role_faults",
    "find_text_faults",
    "has_other_parts",
    "hash_prompts",
    "is_conversation",
    "join_part_texts",
    "parse_transcripts",
    "prepend_system",
    "write_plain_texts",
]

ROLE_KEYS = ("role", "from", "speaker")
TEXT_KEYS = ("content", "value", "text", "message")
TURN = re.compile(r"(?:^\s*|\n\n)(Human|Assistant): ?")
NOT_TEXT = "holds neither text nor messages"

NULL_KEYS = "records with null keys of messages or tools, left out"
"""Note of the step ``read``: how many there are in a file whose format writes null for keys that a record lacks."""


def is_conversation(dtype: pl.DataType) -> bool:
    """Tell whether a column of this type holds messages rather than text."""
    return isinstance(dtype, pl.List | pl.Array | pl.Struct)


def convert_messages(values: pl.Series, role: str) -> tuple[pl.Series, pl.Series]:
    """Convert a column to messages.

    Args:
        values: text (one message with ``role``), a message, or a list of messages (role/content, from/value ...), whose
            content may be a list of parts: their texts are joined, ``extra`` keeps the parts, and a part that is no
            text is a fault.
        role: of plain text.

    Returns:
        the messages, null where there are none; and what is wrong with each row as text, null where nothing is. What
        roles there are is checked by `find_role_faults`.
    """
    dtype = values.dtype
    if isinstance(dtype, pl.Array):
        return convert_messages(values.cast(pl.List(dtype.inner)), role)
    if not dtype.is_nested() and dtype != pl.Null:
        texts = write_plain_texts(values)
        if texts.dtype != pl.String:
            return _reject_all(values)
        text = pl.col("t")
        message = pl.struct(role=pl.lit(role), content=text, extra=pl.lit(None, dtype=pl.String))
        # Polars cannot reshape no rows.
        column = message.reshape((-1, 1)).arr.to_list() if len(values) else pl.lit(None, dtype=MESSAGES)
        fault = (
            pl.when(text.is_null())
            .then(pl.lit("is missing"))
            .when(text.str.contains(r"\S").not_())
            .then(pl.lit("is empty"))
            .when(text.str.contains("\0", literal=True))
            .then(pl.lit("has a NUL byte or a lone surrogate"))
        )
        frame = texts.to_frame("t").select(column.alias("m"), fault.alias("t"))
        return frame["m"], frame["t"]
    if isinstance(dtype, pl.Struct):
        return convert_messages(values.to_frame("m").select(pl.concat_list("m")).to_series(), role)
    if isinstance(dtype, pl.List) and isinstance(dtype.inner, pl.Struct):
        converted = _convert_structs(values, dtype.inner)
        if converted is not None:
            return converted
    return _reject_all(values)


def write_plain_texts(values: pl.Series) -> pl.Series:
    """Write numbers, truth values and categories as texts; other columns stay as they are.

    Beside texts Polars reads 42, 42.0, 0.5 and true of JSON lines as texts too (42, 42, 0.5 and true), and no row may
    depend on its neighbours.
    """
    dtype = values.dtype
    if dtype.is_float():
        return values.cast(pl.String).str.strip_suffix(".0")
    written = dtype.is_numeric() or dtype == pl.Boolean or isinstance(dtype, pl.Categorical | pl.Enum)
    return values.cast(pl.String) if written else values


def _reject_all(values: pl.Series) -> tuple[pl.Series, pl.Series]:
    nothing = pl.Series("m", [None], dtype=MESSAGES).new_from_index(0, values.len())
    present = "has no messages" if values.dtype == pl.List(pl.Null) else NOT_TEXT
    fault = pl.when(pl.col("m")).then(pl.lit("is missing")).otherwise(pl.lit(present))
    return nothing, values.is_null().to_frame("m").select(fault).to_series()


def _convert_structs(values: pl.Series, struct: pl.Struct) -> tuple[pl.Series, pl.Series] | None:
    fields: dict[str, Any] = {item.name: item.dtype for item in struct.fields}
    role_key = next((key for key in ROLE_KEYS if fields.get(key) == pl.String), None)
    usable = (key for key in TEXT_KEYS if key in fields and (are_parts(fields[key]) or not fields[key].is_nested()))
    text_key = next(usable, None)
    if role_key is None or text_key is None:
        return None
    others = [name for name in fields if name not in (role_key, text_key)]
    element = pl.element().struct
    contents, dtype = element.field(text_key), fields[text_key]
    content = join_part_texts(contents, dtype) if are_parts(dtype) else contents.cast(pl.String)
    message = pl.struct(
        role=element.field(role_key).replace(ROLE_NAMES),
        content=content.fill_null(""),
        extra=_encode_extra(others, fields, text_key),
    )
    lists = values.to_frame("m").select(pl.col("m").list.eval(message)).to_series()
    faults = find_text_faults(lists)
    if are_parts(dtype):
        other = pl.col("m").list.eval(has_other_parts(contents, dtype)).list.any()
        wrong = values.to_frame("m").select(pl.when(other).then(pl.lit(NOT_TEXT_PART)).alias("w")).to_series()
        faults = wrong.fill_null(faults)
    return (
        _tidy_extra(lists, struct, text_key) if are_parts(dtype) or others not in ([], ["extra"]) else lists
    ), faults


def _encode_extra(others: Sequence[str], fields: Mapping[str, pl.DataType], text_key: str) -> pl.Expr:
    """Encode what messages have besides role and text as JSON; parts of a content stand in front, as ``content``."""
    element = pl.element().struct
    columns = [element.field(name) for name in others]
    if are_parts(fields[text_key]):
        columns = [element.field(text_key).alias("content"), *columns]
    elif list(others) == ["extra"] and fields["extra"] in (pl.String, pl.Null):
        return element.field("extra").cast(pl.String)
    if not columns:
        return pl.lit(None, dtype=pl.String)
    present = pl.any_horizontal([column.is_not_null() for column in columns])
    whole = pl.struct(columns).struct.json_encode()
    return pl.when(present).then(whole).otherwise(pl.lit(None, dtype=pl.String))


def _tidy_extra(lists: pl.Series, struct: pl.Struct, text_key: str) -> pl.Series:
    """Drop nulls from ``extra``: a frame fills absent keys with them, in every message."""
    extra = pl.element().struct.field("extra").is_not_null()
    some = lists.to_frame("m").select(pl.col("m").list.eval(extra).list.any().fill_null(False)).to_series()
    if not some.any():
        return lists
    columns: dict[str, Any] = {item.name: item.dtype for item in struct.fields}
    encoded = pl.Struct({**columns, "content": columns[text_key]})
    rows: list[list[Message]] = lists.filter(some).to_list()
    for message in (message for row in rows for message in row if message["extra"]):
        further = drop_filled_nulls(json.loads(message["extra"] or "{}"), encoded)
        message["extra"] = json.dumps(further, ensure_ascii=False) if further else None
    chosen = pl.Series("m", rows, dtype=MESSAGES)
    index = some.cast(pl.Int64).cum_sum() - 1
    frame = pl.DataFrame({"m": lists, "some": some, "new": chosen.gather(index.clip(lower_bound=0))})
    return frame.select(pl.when("some").then("new").otherwise("m").alias("m")).to_series()


def count_null_keys(frame: pl.DataFrame, columns: Sequence[str], tools: str | None) -> int:
    """Count the records of which `_tidy_extra` or `offer_tools` leave out a null that may be the source's own.

    Args:
        frame: raw records.
        columns: those that the layout uses.
        tools: the one that holds tools.
    """
    tests = [_find_null_key(pl.col(name), frame.schema[name], inside=name == tools) for name in columns]
    nulls = [test for test in tests if test is not None]
    return int(frame.select(pl.any_horizontal(nulls).sum()).item()) if nulls else 0


def _find_null_key(value: pl.Expr, dtype: Any, *, inside: bool = False) -> pl.Expr | None:
    """Tell whether a message in the value has a null key at any depth; None where its type allows none.

    Args:
        value: of any type.
        dtype: its type.
        inside: whether the value is part of a message, or a tool, so that any key in it counts.
    """
    if isinstance(dtype, pl.Array):
        return _find_null_key(value.arr.to_list(), pl.List(dtype.inner), inside=inside)
    if isinstance(dtype, pl.List):
        test = _find_null_key(pl.element(), dtype.inner, inside=inside)
        return None if test is None else value.list.eval(test).list.any().fill_null(False)
    if not isinstance(dtype, pl.Struct):
        return None
    fields: dict[str, Any] = {item.name: item.dtype for item in dtype.fields}
    role = None if inside else next((key for key in ROLE_KEYS if fields.get(key) == pl.String), None)
    text = None if role is None else next((key for key in TEXT_KEYS if key in fields), None)
    inside = inside or text is not None
    tests = []
    for name, inner in fields.items():
        field = value.struct.field(name)
        # A content may be null beside tool calls, and a folded ``extra`` where a message has no further keys.
        if inside and name not in (role, text) and (role is None or name != "extra"):
            tests.append(field.is_null())
        if (within := _find_null_key(field, inner, inside=inside)) is not None:
            tests.append(within)
    return value.is_not_null() & pl.any_horizontal(tests) if tests else None


def find_text_faults(lists: pl.Series) -> pl.Series:
    """Describe what is wrong with the texts of messages: none at all, all blank, or bytes that no text has."""
    element = pl.element().struct
    blank = element.field("content").str.contains(r"\S").not_() & is_read(element.field("extra")).not_()
    nul = element.field("content").str.contains("\0", literal=True)
    column = pl.col("m")
    fault = (
        pl.when(column.is_null())
        .then(pl.lit("is missing"))
        .when(column.list.len() == 0)
        .then(pl.lit("has no messages"))
        .when(column.list.eval(blank.fill_null(True)).list.all())
        .then(pl.lit("is empty"))
        .when(column.list.eval(nul.fill_null(False)).list.any())
        .then(pl.lit("has a NUL byte or a lone surrogate"))
    )
    return lists.to_frame("m").select(fault).to_series()


def find_role_faults(lists: pl.Series, *, completion: bool) -> pl.Series:
    """Describe what is wrong with the order of roles, null where nothing is.

    A prompt has known roles, a system message only in front, and ends with a user or tool turn; a completion begins and
    ends with an assistant turn.
    """
    roles = pl.col("m").list.eval(pl.element().struct.field("role"))
    unknown = roles.list.eval(pl.element().is_in(list(ROLES)).fill_null(False).not_()).list.any()
    first, last = roles.list.first(), roles.list.last()
    if completion:
        order = (first != "assistant") | (last != "assistant") | roles.list.contains("system")
        users = roles.list.contains("user")
        wrong = pl.when(order).then(pl.lit("does not begin and end with an assistant turn"))
        worse = wrong.when(users).then(pl.lit("has a user turn in it: the two sides answer different prompts"))
    else:
        late = roles.list.slice(1).list.contains("system")
        wrong = pl.when(late).then(pl.lit("has a system message in the middle"))
        worse = wrong.when(~last.is_in(["user", "tool"])).then(pl.lit("does not end with a user or tool turn"))
    fault = pl.when(unknown).then(pl.lit("has a message of an unknown role")).otherwise(worse)
    return lists.to_frame("m").select(fault).to_series()


def prepend_system(prompts: pl.Series, system: pl.Series) -> pl.Series:
    """Put a system text in front of prompts, where it is not blank and the prompt has none."""
    message = pl.struct(role=pl.lit("system"), content=pl.col("s"), extra=pl.lit(None, dtype=pl.String))
    lacking = pl.col("s").str.contains(r"\S") & (pl.col("m").list.first().struct.field("role") != "system")
    extended = pl.concat_list(pl.concat_list(message), pl.col("m"))
    frame = pl.DataFrame({"m": prompts, "s": system})
    return frame.select(pl.when(lacking.fill_null(False)).then(extended).otherwise("m").alias("m")).to_series()


def parse_transcripts(texts: pl.Series) -> pl.Series:
    """Parse transcripts (``\\n\\nHuman: ... \\n\\nAssistant: ...``) to messages, without an empty last assistant turn.

    Text that begins with neither is null.
    """
    parsed: list[list[Message] | None] = []
    for text in texts.to_list():
        head, *rest = TURN.split(text or "")
        turns: list[Message] = [
            {"role": ROLE_NAMES[speaker], "content": speech.strip(), "extra": None}
            for speaker, speech in zip(rest[::2], rest[1::2], strict=True)
        ]
        parsed.append(None if head.strip() or not turns else turns)
        if turns and turns[-1]["role"] == "assistant" and not turns[-1]["content"]:
            turns.pop()
    return pl.Series(texts.name, parsed, dtype=MESSAGES)


def hash_prompts(prompts: pl.Series) -> pl.Series:
    """Hash each prompt to 16 hexadecimal digits: blake2b of its messages, equal for equal ones, on every machine.

    Notes on messages (keys that no chat template reads, such as ids) do not count.
    """
    element = pl.element().struct
    parts = [element.field("role"), element.field("content"), element.field("extra").fill_null("")]
    whole = pl.col("m").list.eval(pl.concat_str(parts, separator="\x1e")).list.join("\x1f")
    texts = drop_notes(prompts).to_frame("m").select(whole).to_series()
    # Slices of Arrow's bytes are hashed, without a Python string for each prompt. Slices of a view would spare one copy
    # of all texts, and take half as long again.
    arrow = texts.fill_null("").rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
    _, bounds, content = arrow.buffers()
    offsets = memoryview(bounds).cast("q")[arrow.offset : arrow.offset + len(arrow) + 1].tolist()
    whole_text = b"" if content is None else content.to_pybytes()
    # A copy of an empty hash takes three quarters of the time of a new one, whose options are parsed again.
    empty, digests = blake2b(digest_size=8), []
    for begin, end in pairwise(offsets):
        hasher = empty.copy()
        hasher.update(whole_text[begin:end])
        digests.append(hasher.digest())
    hexadecimal = pl.Series("prompt_id", digests, dtype=pl.Binary).bin.encode("hex")
    return hexadecimal.zip_with(texts.is_not_null(), pl.Series([None], dtype=pl.String))


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
