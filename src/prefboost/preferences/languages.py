"""Detect the language of a text with py3langid (langid.py's method, arXiv 1107.5576): its only home."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import polars as pl

from prefboost.errors import SettingsError, require_extra

__all__ = ["FEWEST_WORDS", "check_languages", "detect_language", "detect_languages"]

FEWEST_WORDS = 5
"""Texts of fewer words are too short to tell their language."""

_LOOKED_AT = 1000
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u3040-\u30ff\u3400-\u9fff]")
"""Letters of scripts that put no space between words: Thai, Lao, Burmese, kana, Han."""


def _load_library() -> Any:
    with require_extra("py3langid", "synthesis"):
        import py3langid
    return py3langid


def detect_language(text: str) -> str:
    """Detect the likeliest language of a text's first thousand characters, as an ISO 639 code.

    Raises:
        MissingExtra: py3langid is not installed.
    """
    return str(_load_library().classify(text[:_LOOKED_AT])[0])


def detect_languages(texts: pl.Series) -> pl.Series:
    """Detect the language of each text; null where it has too few words, or letters where no spaces part them."""
    languages = []
    for text in texts.to_list():
        head = (text or "")[:_LOOKED_AT]
        is_long = len(head.split()) >= FEWEST_WORDS or len(_UNSPACED.findall(head)) >= 2 * FEWEST_WORDS
        languages.append(detect_language(head) if is_long else None)
    return pl.Series(texts.name, languages, dtype=pl.String)


def check_languages(languages: Sequence[str]) -> None:
    """Refuse codes that py3langid never gives.

    Raises:
        SettingsError: names the first one, and those there are.
        MissingExtra: py3langid is not installed.
    """
    codes = {str(language) for language, _ in _load_library().rank("")}
    wrong = [language for language in languages if language not in codes]
    if wrong:
        raise SettingsError(
            f"{wrong[0]!r} is not a language that can be detected", remedy=f"one of {', '.join(sorted(codes))}"
        )
