"""Limits in tokens count with the tokenizer of the model that is named."""

from __future__ import annotations

from typing import Any

from prefboost.preferences.select import Select
from prefboost.runs.preparation import count_tokens_by, load_token_counter


class Letters:
    """A tokenizer of one token a letter, with a mark at the beginning unless told otherwise."""

    def __call__(self, texts: list[str], *, add_special_tokens: bool = True) -> dict[str, Any]:
        return {"input_ids": [[0] * add_special_tokens + [ord(letter) for letter in text] for text in texts]}


def test_tokens_are_counted_without_the_marks_around_a_text() -> None:
    assert count_tokens_by(Letters())(("abc", "")) == [3, 0]


def test_no_tokenizer_is_loaded_where_no_limit_is_in_tokens() -> None:
    assert load_token_counter(None, "no/such-model") is None
    assert load_token_counter(Select(max_prompt_words=3), "no/such-model") is None
    assert load_token_counter(Select(max_prompt_tokens=3), None) is None
