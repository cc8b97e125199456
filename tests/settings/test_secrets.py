"""Secrets stay out of what is shown and stored."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.settings.secrets import without_secrets


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("use hf_abcdefghijklmnop now", "hf_abcdefghijklmnop"),
        ("Authorization: Bearer eyJhbGciOi.xyz_123", "eyJhbGciOi.xyz_123"),
        ("https://user:hunter22@host/path", "hunter22"),
        ("{'api_key': 'abc123456'}", "abc123456"),
        ("engine.api_key=abc123456", "abc123456"),
    ],
)
def test_a_secret_is_replaced(text: str, secret: str) -> None:
    assert secret not in without_secrets(text)
    assert "[secret]" in without_secrets(text)


@pytest.mark.parametrize("text", ["max_tokens=4096", "tokenizer: gpt2", "special tokens: <|im_end|>", "beta: 0.01"])
def test_ordinary_settings_stay_as_they_are(text: str) -> None:
    assert without_secrets(text) == text


def test_values_of_secret_environment_variables_are_hidden_and_others_are_not() -> None:
    environment = {"MY_API_KEY": "value-of-key", "HOME": "/home/somebody"}
    assert without_secrets("value-of-key in /home/somebody", environment) == "[secret] in /home/somebody"


@given(st.text(alphabet="abc =:/@\"'", max_size=60))
def test_hiding_twice_changes_nothing_more(text: str) -> None:
    once = without_secrets(text)
    assert without_secrets(once) == once
