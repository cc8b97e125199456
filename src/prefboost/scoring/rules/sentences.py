"""Sentence boundaries."""

from __future__ import annotations

import re

__all__ = ["sentences_of"]

_ABBREVIATIONS = frozenset(
    re.findall(
        r"\S+",
        "mr mrs ms dr prof st sr jr vs etc e.g i.e cf fig vol inc ltd co corp approx dept est gen col capt lt rev hon "
        "a.m p.m u.s u.k jan feb aug sep sept oct nov dec",
    )
)
_END = re.compile(r"""[.!?…]+["'”’)\]*_]*(?=\s|$)""")
_LIST_NUMBER = re.compile(r"(?:^|\n)\s*\d+$")


def sentences_of(text: str) -> list[str]:
    """Split a text into trimmed sentences.

    A sentence ends at ``.``, ``!``, ``?`` or ``…`` (with closing quotes or brackets) before white space or the end, and
    at an empty line; not after a common abbreviation, a single initial or a list number. IFEval splits with NLTK's
    trained punkt model, which this follows on plain prose without needing its data.

    >>> sentences_of('Dr. Lee paid 3.5 dollars. "Why?" Nobody knows')
    ['Dr. Lee paid 3.5 dollars.', '"Why?"', 'Nobody knows']
    """
    sentences = [sentence for block in re.split(r"\n\s*\n", text) for sentence in _split(block)]
    return [sentence for sentence in sentences if any(char.isalnum() for char in sentence)]


def _split(block: str) -> list[str]:
    sentences: list[str] = []
    start = 0
    for end in _END.finditer(block):
        if end[0] == ".":
            before = block[start : end.start()]
            words = before.split()
            last = words[-1].lstrip("(\"'“").lower() if words else ""
            # A single letter is an initial, but "I." ends a sentence more often than it begins a name.
            is_initial = len(last) == 1 and last.isalpha() and last != "i"
            if is_initial or last in _ABBREVIATIONS or _LIST_NUMBER.search(before) is not None:
                continue
        sentences.append(block[start : end.end()].strip())
        start = end.end()
    return [*sentences, block[start:].strip()]
