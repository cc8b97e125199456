"""Where sentences end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.scoring.rules.sentences import sentences_of

WORD = st.text("abcdefghij", min_size=2, max_size=8).filter(lambda word: word not in ("cf", "jan", "feb", "fig", "gen"))
SENTENCE = st.lists(WORD, min_size=2, max_size=6).map(" ".join)


@given(st.lists(st.tuples(SENTENCE, st.sampled_from([".", "!", "?", "...", "?!", '."'])), min_size=1, max_size=6))
def test_every_closed_sentence_is_found(parts: list[tuple[str, str]]) -> None:
    assert len(sentences_of(" ".join(words + mark for words, mark in parts))) == len(parts)


@given(st.text())
def test_any_text_can_be_split_and_nothing_is_invented(text: str) -> None:
    assert all(sentence in text for sentence in sentences_of(text))


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("...", 0),
        ("No mark at the end", 1),
        ("Dr. Lee paid 3.5 dollars to J. Smith, i.e. her friend.", 1),
        ("So do I. You too.", 2),
        ("1. Wash them.\n2. Eat them.", 2),
        ("A title\n\nA sentence.", 2),
        ("(Really.) Yes.", 2),
        ("See example.com or v1.2 for more.", 1),
    ],
)
def test_common_cases(text: str, count: int) -> None:
    assert len(sentences_of(text)) == count
