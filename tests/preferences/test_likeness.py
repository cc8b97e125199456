"""Messages that are the same: to the letter, in their words, or as a question."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.preferences.likeness import (
    build_exact_key,
    build_question_key,
    build_word_key,
    count_text_words,
    find_rows_with_grams,
    hash_ngrams,
    join_contents,
    normalise_words,
)
from prefboost.tables import MESSAGES

SYSTEM = {"role": "system", "content": "Be brief.", "extra": None}


def user(text: str) -> dict[str, str | None]:
    return {"role": "user", "content": text, "extra": None}


PROMPTS = [[user("Why so?")], [user("why SO")], [SYSTEM, user("Why so?")], [user("?!")]]
FRAME = pl.DataFrame({"prompt": PROMPTS}, schema={"prompt": MESSAGES})


def groups(key: pl.Expr) -> list[int]:
    """The first prompt that each prompt is like."""
    found = FRAME.select(key=key)["key"].to_list()
    return [found.index(each) for each in found]


def test_messages_are_the_same_to_the_letter_in_words_or_as_a_question() -> None:
    assert groups(build_exact_key("prompt")) == [0, 1, 2, 3]
    assert groups(build_word_key("prompt")) == [0, 0, 2, 3]
    assert groups(build_question_key()) == [0, 0, 0, 3]


def test_contents_stand_on_lines_of_their_own() -> None:
    assert FRAME.select(text=join_contents("prompt"))["text"][2] == "Be brief.\nWhy so?"


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


texts = st.lists(st.one_of(st.none(), st.text(st.sampled_from("ab \n\u00a0é"), max_size=8)), min_size=1, max_size=12)


@given(texts, st.randoms())
def test_words_are_counted_for_every_text_however_often_it_stands_there(drawn, random):
    frame = pl.DataFrame(
        {"prompt": drawn, "chosen": random.sample(drawn, len(drawn))},
        schema=dict.fromkeys(("prompt", "chosen"), pl.String),
    )
    counts = count_text_words(frame)
    expected = {name: [None if text is None else len(text.split()) for text in frame[name]] for name in frame.columns}
    assert counts.to_dict(as_series=False) == expected
    assert set(counts.dtypes) == {pl.UInt32}
