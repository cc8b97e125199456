"""Foreign text, made safe to show: control characters, and those that turn the direction of writing, are visible."""

from __future__ import annotations

import re

__all__ = ["cut_text", "flatten_prose", "flatten_text", "replace_controls"]

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2028\u2029\u2066-\u2069]")


def replace_controls(text: str) -> str:
    """Replace control characters by U+FFFD; line ends and tabs stay."""
    return _CONTROL.sub("\ufffd", text)


def flatten_text(text: str) -> str:
    """Put foreign text on one line; control characters, and those that turn the direction of writing, become U+FFFD."""
    return replace_controls(" ".join(text.split("\n"))).replace("\t", " ")


def flatten_prose(text: str) -> str:
    """Put a sentence on one line as `flatten_text` does; a line that is too long breaks nowhere before a percent sign.

    >>> flatten_prose("Intervals: 95 %, over prompts.")
    'Intervals: 95\\xa0%, over prompts.'
    """
    return re.sub(r"(?<=\d) (?=%)", "\u00a0", flatten_text(text))


def cut_text(text: str, most: int) -> str:
    """Cut text after ``most`` characters, and say how many are left out.

    >>> cut_text("abcdef", 4)
    'abcd … (2 more characters)'
    """
    return text if len(text) <= most else f"{text[:most]} … ({len(text) - most:,} more characters)"
