"""Style of an answer: its length, headers, lists and bold text, so that content can be rated at equal style.

Features as in lmarena/arena-hard-auto (`utils/add_markdown_info.py`, `show_result.py`; v0.1: `utils_math.py`): relative
differences of two answers, so that a long pair weighs no more than a short one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from prefboost.statistics.columns import FloatColumn

__all__ = ["FEATURES", "Control", "Style", "count_style", "density_differences", "ratio_differences"]

Control = Literal["length", "markdown"]

FEATURES: Mapping[Control, tuple[str, ...]] = {"length": ("length",), "markdown": ("headers", "lists", "bold")}
"""Kind of style -> features that describe it."""

_CODE = re.compile(r"```[^`]*```")
_HEADERS = re.compile(r"^#{1,6}\s", re.MULTILINE)
_LISTS = re.compile(r"^\s*(?:\d+\.|[-*+])\s", re.MULTILINE)
_BOLD = re.compile(r"\*\*[^*\n]+\*\*|__[^_\n]+__")
_WORDS = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class Style:
    """Counts of one answer.

    Args:
        length: tokens, or words and signs: the same unit throughout a comparison.
        headers, lists, bold: number of each outside of code blocks.
    """

    length: int
    headers: int = 0
    lists: int = 0
    bold: int = 0


def count_style(text: str, length: int | None = None) -> Style:
    """Count length and markdown of an answer.

    Args:
        text: the answer.
        length: in tokens; None counts words and signs, which is proportional enough for relative differences.
    """
    prose = _CODE.sub("", text)
    counts = [len(pattern.findall(prose)) for pattern in (_HEADERS, _LISTS, _BOLD)]
    return Style(len(_WORDS.findall(text)) if length is None else length, *counts)


def density_differences(first: Sequence[Style], second: Sequence[Style]) -> dict[str, FloatColumn]:
    """Compute feature -> (a - b) / (a + b), with markdown counted per token (Arena-Hard v2.0).

    Args:
        first: N answers.
        second: the N answers that they are compared with.

    Returns:
        length, headers, lists, bold, each [N], in -1..1; 0 where both answers are empty.
    """
    a, b = _stack_counts(first), _stack_counts(second)
    length = _divide_difference(a[:, 0], b[:, 0], 0.0)
    density_a, density_b = a[:, 1:] / (a[:, :1] + 1), b[:, 1:] / (b[:, :1] + 1)
    return _split_columns(length, _divide_difference(density_a, density_b, 1.0))


def ratio_differences(first: Sequence[Style], second: Sequence[Style]) -> dict[str, FloatColumn]:
    """Compute feature -> (a - b) / (a + b + 1) of the plain counts (Arena-Hard v0.1). See `density_differences`."""
    differences = _divide_difference(_stack_counts(first), _stack_counts(second), 1.0)
    return _split_columns(differences[:, 0], differences[:, 1:])


def _stack_counts(styles: Sequence[Style]) -> FloatColumn:
    """Return counts as [N, 4]."""
    return np.array([(s.length, s.headers, s.lists, s.bold) for s in styles], dtype=np.float64).reshape(-1, 4)


def _divide_difference(a: FloatColumn, b: FloatColumn, offset: float) -> FloatColumn:
    """Compute (a - b) / (a + b + offset), 0 where the denominator is."""
    total = a + b + offset
    quotient: FloatColumn = np.divide(a - b, total, out=np.zeros_like(total), where=total > 0)
    return quotient


def _split_columns(length: FloatColumn, markdown: FloatColumn) -> dict[str, FloatColumn]:
    return {"length": length, **{name: markdown[:, at] for at, name in enumerate(FEATURES["markdown"])}}
