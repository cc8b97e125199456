"""Measure how different texts are: distinct n-grams, spread of embeddings, evenness of counts."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["measure_distinct", "measure_evenness", "measure_spread"]


def measure_distinct(texts: Sequence[str], n: int, words: int | None = None) -> float:
    """Compute distinct-n (arXiv 1510.03055): different n-grams as a share of all; 0..1, NaN without any.

    The share falls with the amount of text: compare files at the same number of words.

    Args:
        texts: n-grams do not span two of them.
        n: words of an n-gram, told by letters and digits, in lower case.
        words: look at so many words at most, text by text.
    """
    grams: list[tuple[str, ...]] = []
    left = math.inf if words is None else words
    for text in texts:
        words_of_text = re.findall(r"\w+", text.lower())[: int(min(left, 10**9))]
        left -= len(words_of_text)
        grams += [tuple(words_of_text[at : at + n]) for at in range(len(words_of_text) - n + 1)]
        if left <= 0:
            break
    return len(set(grams)) / len(grams) if grams else math.nan


def measure_spread(vectors: NDArray[np.float64]) -> float:
    """Average the cosine distance of two different texts: 0 where all point one way; NaN for fewer than two.

    Args:
        vectors: [T, d], of unit length.
    """
    count = len(vectors)
    if count < 2:
        return math.nan
    total = vectors.sum(0)
    return 1.0 - float(total @ total - count) / (count * (count - 1))


def measure_evenness(counts: Mapping[str, int], among: int | None = None) -> float:
    """Compute the entropy of counts over its maximum: 1 where all are used alike; NaN where nothing is.

    Args:
        counts: how often each was used.
        among: how many there are; default: those that were used.
    """
    total, kinds = sum(counts.values()), among or len(counts)
    if not total or kinds < 2:
        return math.nan if not total else 1.0
    shares = [count / total for count in counts.values() if count]
    return -sum(share * math.log(share) for share in shares) / math.log(kinds)
