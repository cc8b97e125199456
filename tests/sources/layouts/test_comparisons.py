"""Forms of side-by-side data."""

from __future__ import annotations

import polars as pl

from prefboost.sources.columns import Columns
from prefboost.sources.layouts.comparisons import COMPARISONS, STATED, find_comparison
from prefboost.sources.layouts.part_lookup import PartLookup


def test_every_form_is_read_in_a_known_way() -> None:
    assert {form.reads for form in COMPARISONS} == set(STATED)


def test_signs_of_words_numbers_and_flags() -> None:
    words = pl.Series("v", ["model_a", "Model_B", "tie (bothbad)", "x"]).to_frame().select(STATED["words"](pl.col("v")))
    assert words.to_series().to_list() == [-1, 1, 0, None]
    numbers = pl.Series("v", [1.0, 2.0, 0.0, None]).to_frame().select(STATED["number"](pl.col("v")))
    assert numbers.to_series().to_list() == [-1, 1, 0, None]


def test_a_form_needs_all_of_its_columns_and_a_prompt() -> None:
    whole = {"question": "q", "response_a": "a", "response_b": "b", "score_a": 1, "score_b": 2}
    parts = find_comparison(PartLookup(pl.DataFrame([whole]), Columns(), "f"))
    assert parts is not None and parts["reads"] == "scores" and parts["score_second"] == "score_b"
    for name in whole:
        rest = {key: value for key, value in whole.items() if key != name}
        assert find_comparison(PartLookup(pl.DataFrame([rest]), Columns(), "f")) is None
