from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.preferences.ngrams import ngram_hashes, normalised


@given(st.lists(st.text(max_size=20), min_size=1, max_size=5), st.integers(1, 3))
def test_equal_texts_have_equal_grams_whatever_their_neighbours(texts: list[str], n: int) -> None:
    together = ngram_hashes(pl.Series(texts, dtype=pl.String), n)
    for at, text in enumerate(texts):
        alone = ngram_hashes(pl.Series([text], dtype=pl.String), n)["gram"]
        assert set(together.filter(pl.col("at") == at)["gram"]) == set(alone)


@pytest.mark.parametrize(("text", "plain"), [("  It's  A—Test! ", "it s a test"), ("Straße 7", "straße 7"), ("…", "")])
def test_normalised_keeps_letters_and_digits(text: str, plain: str) -> None:
    assert pl.DataFrame({"t": [text]}).select(normalised(pl.col("t"))).item() == plain
