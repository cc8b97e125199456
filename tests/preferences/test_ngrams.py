from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.preferences.ngrams import find_rows_with_grams, hash_ngrams, normalise_words
from prefboost.tables import MESSAGES


@given(st.lists(st.text(max_size=20), min_size=1, max_size=5), st.integers(1, 3))
def test_equal_texts_have_equal_grams_whatever_their_neighbours(texts: list[str], n: int) -> None:
    together = hash_ngrams(pl.Series(texts, dtype=pl.String), n)
    for at, text in enumerate(texts):
        alone = hash_ngrams(pl.Series([text], dtype=pl.String), n)["gram"]
        assert set(together.filter(pl.col("at") == at)["gram"]) == set(alone)


@pytest.mark.parametrize(("text", "plain"), [("  It's  A—Test! ", "it s a test"), ("Straße 7", "straße 7"), ("…", "")])
def test_normalised_keeps_letters_and_digits(text: str, plain: str) -> None:
    assert pl.DataFrame({"t": [text]}).select(normalise_words(pl.col("t"))).item() == plain


def test_a_benchmark_question_is_found_behind_a_system_message_and_in_a_later_turn() -> None:
    question = "Why is the sky blue?"
    turns = [
        [("system", "Be brief."), ("user", question)],
        [("user", "Hello"), ("assistant", "Hi"), ("user", question)],
        [("user", "Something else")],
        [("system", question)],
    ]
    prompts = pl.Series(
        [[{"role": role, "content": content, "extra": None} for role, content in each] for each in turns],
        dtype=MESSAGES,
    )
    known = hash_ngrams(pl.Series([question.upper()]), 13)["gram"]
    assert find_rows_with_grams(prompts, known, 13).to_list() == [0, 1, 3]
