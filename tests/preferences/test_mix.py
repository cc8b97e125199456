"""Mixtures: exact shares, no pair twice, no prompt on both sides, smaller ones inside larger ones."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.errors import DataError
from prefboost.preferences.gather import LEAKED, REPEATED
from prefboost.preferences.mix import Mix, Part, mix
from prefboost.tables import COMPLETIONS, MESSAGES, PREFERENCE_PAIRS, Table, conform


def said(role: str, text: str) -> list[dict[str, Any]]:
    return [{"role": role, "content": text, "extra": None}]


def pairs(name: str, count: int, *, split: str | None = None, first: int = 0, **more: Any) -> Table:
    rows = [
        {
            "row": at, "pair_id": f"p{at}", "prompt_id": f"{name}{at}",
            "prompt": said("user", f"Question {first + at}"),
            "chosen": said("assistant", f"{name} good {at}"), "rejected": said("assistant", f"{name} bad {at}"),
            "score_chosen": None, "score_rejected": None, "split": split, **more,
        }
        for at in range(count)
    ]  # fmt: skip
    types = {"prompt": MESSAGES, "chosen": MESSAGES, "rejected": MESSAGES, "split": pl.String,
             "score_chosen": pl.Float64, "score_rejected": pl.Float64}  # fmt: skip
    return Table(PREFERENCE_PAIRS, conform(pl.DataFrame(rows, schema_overrides=types), PREFERENCE_PAIRS))


def settings(size: int | None = None, **shares: float) -> Mix:
    return Mix(parts={name: Part(data=f"{name}.parquet", share=share) for name, share in shares.items()}, size=size)


@pytest.mark.parametrize(
    ("shares", "counts"),
    [
        ({"real": 1, "made": 1}, {"real": 15, "made": 15}),
        ({"real": 1, "made": 0}, {"real": 30, "made": 0}),
        ({"real": 2, "made": 1}, {"real": 20, "made": 10}),
    ],
)
def test_shares_are_exact_at_equal_size(shares: dict[str, float], counts: dict[str, int]) -> None:
    made = mix({"real": pairs("real", 40), "made": pairs("made", 40, first=100)}, settings(30, **shares))
    found = dict(made.frame["source"].value_counts().iter_rows())
    assert {name: found.get(name, 0) for name in counts} == counts


@given(st.dictionaries(st.sampled_from("abc"), st.integers(1, 9), min_size=1), st.integers(1, 40))
def test_counts_sum_to_the_size_and_are_within_one_of_the_shares(shares: dict[str, int], size: int) -> None:
    tables = {name: pairs(name, 40, first=1000 * at) for at, name in enumerate(shares)}
    made = mix(tables, settings(size, **shares))
    found = dict(made.frame["source"].value_counts().iter_rows())
    assert sum(found.values()) == size
    for name, share in shares.items():
        assert abs(found.get(name, 0) - size * share / sum(shares.values())) < 1


def test_without_a_size_as_many_are_taken_as_the_shares_allow() -> None:
    made = mix({"real": pairs("real", 10), "made": pairs("made", 40, first=100)}, settings(real=1, made=2))
    assert dict(made.frame["source"].value_counts().iter_rows()) == {"real": 10, "made": 20}


def test_a_smaller_mixture_is_part_of_a_larger_one() -> None:
    tables = {"real": pairs("real", 40), "made": pairs("made", 40, first=100)}
    small, large = (set(mix(tables, settings(size, real=1, made=1)).frame["pair_id"]) for size in (10, 40))
    assert small < large


def test_equal_prompts_get_one_id_and_equal_pairs_stand_once() -> None:
    again = pairs("real", 5)
    made = mix({"real": pairs("real", 5), "copy": again, "made": pairs("made", 5)}, settings(real=1, copy=0, made=1))
    assert made.frame.filter(pl.col("source") == "made")["prompt_id"].sort().to_list() == [f"real{n}" for n in range(5)]
    assert dict(made.rejects["reason"].value_counts().iter_rows()) == {REPEATED: 5}


def test_no_prompt_that_is_evaluated_on_is_trained_on() -> None:
    real, aside = pairs("real", 10), pairs("held", 4, split="validation", first=3)
    both = Table(PREFERENCE_PAIRS, pl.concat([real.frame, aside.frame.with_columns(pl.col("pair_id") + "v")]))
    made = mix({"real": both, "made": pairs("made", 10)}, settings(real=1, made=1))
    train = made.frame.filter(pl.col("split").is_null())
    assert set(train["prompt_id"]).isdisjoint(made.frame.filter(pl.col("split") == "validation")["prompt_id"])
    assert dict(made.rejects["reason"].value_counts().iter_rows()) == {LEAKED: 8}
    assert made.steps[-1].notes["evaluation pairs"] == 4


def test_no_prompt_of_a_file_to_test_on_is_trained_on_however_it_is_written() -> None:
    test = pairs("test", 3)
    shout = said("user", "QUESTION  1!")
    frame = test.frame.with_columns(prompt=pl.lit(pl.Series([shout], dtype=MESSAGES)).first())
    made = mix({"real": pairs("real", 5)}, settings(real=1), evaluated=Table(PREFERENCE_PAIRS, frame))
    assert sorted(made.frame["prompt_id"]) == ["real0", "real2", "real3", "real4"]


def test_weights_of_parts_multiply_those_of_pairs() -> None:
    parts = {"real": Part(data="r", weight=2.0), "made": Part(data="m", weight=0.5)}
    tables = {"real": pairs("real", 2), "made": pairs("made", 2, first=9, pair_weight=3.0)}
    made = mix(tables, Mix(parts=parts)).frame
    assert sorted(set(made.select("source", "pair_weight").rows())) == [("made", 1.5), ("real", 2.0)]


def test_too_few_pairs_are_an_error_that_says_how_many() -> None:
    with pytest.raises(DataError, match=r"has 5 pairs to train on, but its share of 20 is 10"):
        mix({"real": pairs("real", 5), "made": pairs("made", 40, first=9)}, settings(20, real=1, made=1))


def test_completions_are_no_pairs() -> None:
    with pytest.raises(DataError, match="PreferencePairs"):
        mix({"real": Table(COMPLETIONS, pl.DataFrame())}, settings(real=1))
