"""Messages that are the same: to the letter, in their words, or as a question."""

from __future__ import annotations

import polars as pl

from prefboost.preferences.likeness import build_exact_key, build_question_key, build_word_key, join_contents
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
