"""How an answer looks: its length, and headers, lists and bold text, for rating what it says apart from that.

Features as in lmarena/arena-hard-auto (`utils/add_markdown_info.py`, `show_result.py`; v0.1: `utils_math.py`): relative
differences of two answers, so that a long pair weighs no more than a short one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from prefboost.errors import DataError
from prefboost.statistics.columns import FloatColumn

__all__ = [
    "FEATURES",
    "Control",
    "Style",
    "density_differences",
    "ratio_differences",
    "style_from_metadata",
    "style_of",
]

Control = Literal["length", "markdown"]

FEATURES: Mapping[Control, tuple[str, ...]] = {"length": ("length",), "markdown": ("headers", "lists", "bold")}
"""What is held fixed -> features that stand for it."""

_CODE = re.compile(r"```[^`]*```")
_HEADERS = re.compile(r"^#{1,6}\s", re.MULTILINE)
_LISTS = re.compile(r"^\s*(?:\d+\.|[-*+])\s", re.MULTILINE)
_BOLD = re.compile(r"\*\*[^*\n]+\*\*|__[^_\n]+__")
_WORDS = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class Style:
    """Counts of one answer.

    Args:
        length: tokens, or words and signs: one unit throughout a comparison.
        headers, lists, bold: how often each occurs outside of code blocks.
    """

    length: int
    headers: int = 0
    lists: int = 0
    bold: int = 0


def style_of(text: str, length: int | None = None) -> Style:
    """Counts of an answer.

    Args:
        text: the answer.
        length: in tokens; None counts words and signs, which is proportional enough for relative differences.
    """
    prose = _CODE.sub("", text)
    counts = [len(found.findall(prose)) for found in (_HEADERS, _LISTS, _BOLD)]
    return Style(len(_WORDS.findall(text)) if length is None else length, *counts)


def style_from_metadata(metadata: Mapping[str, Any]) -> Style:
    """Counts as a stored answer of Arena-Hard-Auto carries them (``metadata``, in v0.1 ``conv_metadata``).

    Raises:
        DataError: a count is missing.
    """
    names = ("token_len", "header_count", "list_count", "bold_count")
    missing = [name for name in names if name not in metadata]
    if missing:
        raise DataError(
            f"the metadata of an answer have no {', '.join(missing)}", remedy="count from the text with style_of"
        )
    return Style(*(sum(v.values()) if isinstance(v := metadata[name], Mapping) else int(v) for name in names))


def density_differences(first: Sequence[Style], second: Sequence[Style]) -> dict[str, FloatColumn]:
    """Feature -> (a - b) / (a + b), with counts of markdown by token (Arena-Hard v2.0).

    Args:
        first: N answers.
        second: N answers beside them.

    Returns:
        length, headers, lists, bold, each [N], in -1..1; 0 where both answers are empty.
    """
    one, other = _table(first), _table(second)
    length = _relative(one[:, 0], other[:, 0], 0.0)
    dense, sparse = one[:, 1:] / (one[:, :1] + 1), other[:, 1:] / (other[:, :1] + 1)
    return _named(length, _relative(dense, sparse, 1.0))


def ratio_differences(first: Sequence[Style], second: Sequence[Style]) -> dict[str, FloatColumn]:
    """Feature -> (a - b) / (a + b + 1) of the plain counts (Arena-Hard v0.1). See `density_differences`."""
    one, other = _table(first), _table(second)
    differences = _relative(one, other, 1.0)
    return _named(differences[:, 0], differences[:, 1:])


def _table(styles: Sequence[Style]) -> FloatColumn:
    return np.array([(s.length, s.headers, s.lists, s.bold) for s in styles], dtype=np.float64).reshape(-1, 4)


def _relative(one: FloatColumn, other: FloatColumn, more: float) -> FloatColumn:
    total = one + other + more
    found: FloatColumn = np.divide(one - other, total, out=np.zeros_like(total), where=total > 0)
    return found


def _named(length: FloatColumn, markdown: FloatColumn) -> dict[str, FloatColumn]:
    return {"length": length, **{name: markdown[:, at] for at, name in enumerate(FEATURES["markdown"])}}
