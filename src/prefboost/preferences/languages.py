"""Which language a text is in, told by py3langid (langid.py's method, arXiv 1107.5576): its only home."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import polars as pl

from prefboost.errors import MissingExtra, SettingsError

__all__ = ["FEWEST_WORDS", "check_languages", "language_of", "languages_of"]

FEWEST_WORDS = 5
"""Texts of fewer words are too short to tell their language."""

_LOOKED_AT = 1000
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u3040-\u30ff\u3400-\u9fff]")
"""Letters of scripts that put no space between words: Thai, Lao, Burmese, kana, Han."""


def _library() -> Any:
    try:
        import py3langid
    except ImportError as error:
        raise MissingExtra("py3langid", "synthesis") from error
    return py3langid


def language_of(text: str) -> str:
    """The ISO 639 code of the likeliest language of a text's first thousand characters.

    Raises:
        MissingExtra: py3langid is not installed.
    """
    return str(_library().classify(text[:_LOOKED_AT])[0])


def languages_of(texts: pl.Series) -> pl.Series:
    """`language_of` each text; null where it has too few words, or letters of a script without spaces, to tell."""
    told = [language_of(text) if text is not None and _long_enough(text) else None for text in texts.to_list()]
    return pl.Series(texts.name, told, dtype=pl.String)


def check_languages(languages: Sequence[str]) -> None:
    """Refuse codes that are never told.

    Raises:
        SettingsError: names the first one, and those there are.
        MissingExtra: py3langid is not installed.
    """
    known = {str(language) for language, _ in _library().rank("")}
    wrong = [language for language in languages if language not in known]
    if wrong:
        raise SettingsError(
            f"{wrong[0]!r} is no language that can be told", remedy=f"one of {', '.join(sorted(known))}"
        )


def _long_enough(text: str) -> bool:
    head = text[:_LOOKED_AT]
    return len(head.split()) >= FEWEST_WORDS or len(_UNSPACED.findall(head)) >= 2 * FEWEST_WORDS
