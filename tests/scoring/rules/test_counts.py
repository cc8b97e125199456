"""Rules of prefboost.scoring.rules.counts; texts that hold and do not stand in test_kinds.py."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from prefboost.scoring.rules.counts import AtLeastWords, AtMostWords, BetweenWords, Bullets, Paragraphs


@given(st.integers(1, 40), st.integers(1, 40))
def test_a_text_of_n_words_keeps_just_the_limits_that_allow_n(n: int, limit: int) -> None:
    text = " ".join(["word"] * n)
    assert AtMostWords(count=limit).holds(text) == (n <= limit)
    assert AtLeastWords(count=limit).holds(text) == (n >= limit)
    assert BetweenWords(low=limit, high=limit).holds(text) == (n == limit)


@given(st.integers(1, 9), st.integers(1, 9))
def test_bullets_and_paragraphs_are_counted_exactly(n: int, wanted: int) -> None:
    assert Bullets(count=wanted).holds("\n".join(f"* item {i}" for i in range(n))) == (n == wanted)
    assert Paragraphs(count=wanted).holds("\n\n".join(["text"] * n)) == (n == wanted)


def test_silence_is_not_few_words() -> None:
    assert not AtMostWords(count=5).holds(" \n")
