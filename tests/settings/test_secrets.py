"""Secrets stay out of what is shown and stored."""

from __future__ import annotations

import json

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


SETTINGS = {"pad_token": 1234567, "bytes_per_token": 4.351234, "eos_token": [1234567, 2345678], "max_tokens": 4096}


@pytest.mark.parametrize("indent", [None, 2])
def test_json_stays_json_and_numbers_of_tokens_are_no_secrets(indent: int | None) -> None:
    hidden = json.loads(
        without_secrets(json.dumps({**SETTINGS, "password": 12345678, "token": "abc1234"}, indent=indent))
    )
    assert hidden == {**SETTINGS, "password": "[secret]", "token": "[secret]"}
    nested = json.dumps([{"stop_token": 12345678}, [{"api_key": 87654321}]], indent=indent)
    assert json.loads(without_secrets(nested)) == [{"stop_token": 12345678}, [{"api_key": "[secret]"}]]


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


@pytest.mark.parametrize(
    "name",
    ["hf_abcdefghijklmnop_missing.jsonl", "data/hf_ultrafeedbackbinarized.parquet", "hf_goal_pairs_of_2026_11",
     "hf_helpsteerpreferences/train.csv", "sk-learn-preferences-v2.jsonl.gz", "hf_scoredcompletions.parquet.store"],
)  # fmt: skip
def test_names_of_files_are_shown(name: str) -> None:
    assert without_secrets(f"{name}: no such file") == f"{name}: no such file"


LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


@given(
    st.text(alphabet=LETTERS, min_size=34, max_size=37).filter(
        lambda text: any(map(str.isdigit, text)) and not text.isupper() and not text.islower()
    ),
    st.sampled_from(["", ".", "-x", "_x", "/path", ".jsonl", "@host", '"', " and more"]),
    st.sampled_from(["hf_", "ghp_"]),
)
def test_a_token_as_it_is_given_out_is_hidden_whatever_follows(token: str, after: str, kind: str) -> None:
    assert token not in without_secrets(f"said {kind}{token}{after}")
