"""Rules of prefboost.scoring.rules.wording; texts that hold and do not stand in test_kinds.py."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from prefboost.scoring.rules.wording import BeginsWith, EndsWith, ForbidWords, IncludeKeyword, LetterFrequency, Marks

PHRASE = st.text(st.characters(codec="ascii", exclude_characters='"'), min_size=1).filter(
    lambda text: bool(text.strip())
)


@given(PHRASE, PHRASE)
def test_a_text_built_around_a_phrase_begins_and_ends_with_it(phrase: str, text: str) -> None:
    assert BeginsWith(phrase=phrase).holds(f"{phrase} {text}")
    assert EndsWith(phrase=phrase).holds(f"{text} {phrase}")


@given(PHRASE, PHRASE)
def test_a_word_that_must_occur_and_one_that_must_not_are_opposites(word: str, text: str) -> None:
    assert IncludeKeyword(word=word).holds(text) != ForbidWords(words=(word,)).holds(text)
    assert IncludeKeyword(word=word).holds(f"so: {word} !")


@given(st.integers(0, 9), st.integers(0, 9))
def test_letters_and_marks_are_counted(n: int, wanted: int) -> None:
    assert LetterFrequency(letter="q", relation="exactly", count=wanted).holds("Q" * n) == (n == wanted)
    assert Marks(mark="!", relation="exactly", count=wanted).holds("wow!" * n) == (n == wanted)
