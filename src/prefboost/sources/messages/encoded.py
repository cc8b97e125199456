"""Conversations that stand encoded in a text: JSON, Python's repr, or rendered by a chat template."""

from __future__ import annotations

import ast
import io
import json
import re
import tokenize
from collections.abc import Sequence
from typing import Any

import polars as pl

from prefboost.sources.messages.conversations import ROLE_KEYS, TEXT_KEYS
from prefboost.sources.messages.keys import KNOWN_ROLES
from prefboost.sources.messages.rendered import BEGINNINGS, LIKELY, MARKS, looks_rendered, parse_rendered

__all__ = [
    "BEGINS",
    "DECODED_ROWS",
    "ENCODED",
    "count_encoded",
    "decode_list",
    "decode_text",
    "find_encoded_rows",
    "find_likely",
    "looks_encoded",
    "parse_literal",
]

WRAPPERS = ("messages", "conversations", "conversation")

ENCODED = "rows with a text that looks like an encoded conversation"
"""Note of the step ``read``: how many there are, each taken as it stands."""

DECODED_ROWS = "rows with an encoded conversation among plain texts, decoded"
"""Note of the step ``read``."""

WHO = r"[\"'](?:role|from|speaker)[\"']\s*:"
BEGINS = (
    rf"(?si)\A\s*\"?(?:array\()?\s*(?:\[?\s*\{{\s*{WHO}\s*[\"'](?:{'|'.join(sorted(KNOWN_ROLES))})[\"']"
    rf"|\[\s*\{{\s*[\"'](?:content|value)[\"']\s*:\s*[\"'].*{WHO}"
    r"|\{\s*[\"'](?:messages|conversations)[\"']\s*:\s*\[\s*\{)"
)
"""Pattern, of Polars too, of how an encoded conversation begins, or one message of it."""


def looks_encoded(text: str) -> bool:
    """Tell whether a text is likely to hold an encoded conversation rather than to be meant as it stands."""
    return re.match(BEGINS, text) is not None or looks_rendered(text)


def find_encoded_rows(messages: pl.Series) -> pl.Series:
    """Tell for each row whether the text of a message looks like a conversation: JSON, a repr, or rendered."""
    if not find_likely(messages.explode().struct.field("content")).any():
        return pl.Series(messages.name, [False], dtype=pl.Boolean).new_from_index(0, messages.len())
    text = pl.element().struct.field("content")
    encoded = pl.col("m").list.eval(text.str.contains(BEGINS) | text.str.contains(LIKELY)).list.any().fill_null(False)
    return messages.to_frame("m").select(encoded).to_series()


def find_likely(texts: pl.Series) -> pl.Series:
    """Tell for each text whether it may look like a conversation; fast, and true of some plain texts too."""
    return texts.str.contains(rf"(?:{BEGINS})|(?:{BEGINNINGS})") | texts.str.contains_any(list(MARKS))


def count_encoded(rows: pl.DataFrame) -> dict[str, int]:
    """Count converted rows with such a text for the note `ENCODED`; empty for none."""
    texts = [name for name in ("prompt", "completion", "chosen", "rejected") if name in rows.columns]
    odd = pl.DataFrame({name: find_encoded_rows(rows[name]) for name in texts})
    count = int(odd.select(pl.any_horizontal(pl.all()).sum()).item() or 0)
    return {ENCODED: count} if count else {}


def decode_text(text: str) -> list[dict[str, Any]] | None:
    """Decode the messages that a text certainly encodes; None where it is a plain text.

    Certain are JSON and Python's repr of a list of messages with known roles, of one such message, or of an object that
    holds such a list as ``messages`` or ``conversations``; and turns between the special tokens of a chat template.
    """
    if text.lstrip().startswith('"[{\\"'):
        inner = parse_literal(text)  # JSON of JSON
        return decode_text(inner) if isinstance(inner, str) else None
    if text.lstrip()[:1] in ("[", "{", "a"):
        value = parse_literal(text)
        if isinstance(value, dict):
            value = next((value[name] for name in WRAPPERS if name in value), [value])
        if _are_messages(value):
            return list(value)
    return parse_rendered(text)


def decode_list(items: Sequence[Any]) -> list[dict[str, Any]] | None:
    """Decode a list whose items are texts that encode one message each (``List(Json())``)."""
    values = [
        parse_literal(item) if isinstance(item, str) and item.lstrip().startswith("{") else None for item in items
    ]
    return [item for item in values if isinstance(item, dict)] if _are_messages(values) else None


def _are_messages(value: Any) -> bool:
    if not isinstance(value, list) or not value or not all(isinstance(item, dict) for item in value):
        return False
    roles = [next((item[key] for key in ROLE_KEYS if key in item), None) for item in value]
    texts = [any(key in item for key in (*TEXT_KEYS, "tool_calls")) for item in value]
    return all(texts) and all(isinstance(role, str) and role in KNOWN_ROLES for role in roles)


def parse_literal(text: str) -> Any:
    """Parse JSON or Python's repr (of a NumPy array too, as pandas writes it); None where it is neither."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    plain = re.sub(r"\Aarray\(|,\s*dtype=object\)\Z", "", text.strip())
    try:
        if plain.count("{") < 2:
            return ast.literal_eval(plain)
        # NumPy leaves out the commas between dicts; texts inside of them stay as they are.
        tokens: list[tuple[int, str]] = []
        for token in tokenize.generate_tokens(io.StringIO(plain).readline):
            if token.string == "{" and tokens and tokens[-1][1] == "}":
                tokens.append((tokenize.OP, ","))
            tokens += [(token.type, token.string)] if token.type != tokenize.NL else []
        return ast.literal_eval(tokenize.untokenize(tokens))
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError, tokenize.TokenError):
        return None
