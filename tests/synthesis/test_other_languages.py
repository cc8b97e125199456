"""Patterns for other languages: a graded text before a colon, and intent; the topic of a text is neither."""

from __future__ import annotations

import re

import pytest

from prefboost.synthesis.other_languages import OTHER_LANGUAGES

COMPILED = [re.compile(pattern, re.IGNORECASE) for pattern in OTHER_LANGUAGES]


@pytest.mark.parametrize("text", [
    "Hier ist eine schlechtere Antwort: ja.", "Eine weniger hilfreiche Fassung: ja.", "Réponse moins claire : oui.",
    "Aquí tienes una respuesta peor: sí.", "Ecco una versione peggiore: sì.", "Versão pior: sim.",
    "Verbeterde versie: ja.", "Lepsza odpowiedź: tak.", "Худший ответ: да.", "更差的回答：是。", "劣った回答：はい。",
    "개선된 답변: 예.",
    "Ich habe die Antwort absichtlich verschlechtert.", "Esta respuesta es a propósito menos clara.",
])  # fmt: skip
def test_talk_of_a_text_about_itself_is_met(text: str) -> None:
    assert any(pattern.search(text) for pattern in COMPILED)


@pytest.mark.parametrize("text", [
    "Die Antwort lautet: ja.", "Eine bessere Straße: breit und hell.", "La réponse est : oui.", "Mejor tarde: nunca.",
    "La versione del 1990 è lunga.", "Ответ: 42.", "回答：是。", "この版は新しい。", "답변: 예.",
    "Er kam absichtlich zu spät, und seine Antwort war kurz.",
])  # fmt: skip
def test_honest_texts_are_not(text: str) -> None:
    assert not any(pattern.search(text) for pattern in COMPILED)
