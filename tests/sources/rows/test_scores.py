"""Numbers out of score columns."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefboost.sources.rows.scores import (
    MARKED_ASPECTS,
    choose_score,
    find_range_faults,
    get_rank_score_range,
    guess_score_range,
    parse_scores,
)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1))
def test_text_and_numbers_give_the_same_scores(values: list[float]) -> None:
    numbers, _ = parse_scores(pl.Series("s", values))
    texts, fault = parse_scores(pl.Series("s", [f" {value!r} " for value in values]))
    assert numbers.to_list() == texts.to_list() == values
    assert fault.null_count() == len(values)


def test_what_is_not_rated_is_null_and_what_is_no_number_is_a_fault() -> None:
    scores, fault = parse_scores(pl.Series("s", ["N/A", "5", "good", "inf", None]))
    assert scores.to_list()[:3] == [None, 5, None]
    assert fault.to_list() == [None, None, "is not a number", "is not a finite number", None]


def test_float32_is_read_as_the_decimal_it_was_printed_from() -> None:
    assert parse_scores(pl.Series("s", [6.62], dtype=pl.Float32))[0].to_list() == [6.62]


def test_ranks_turn_round() -> None:
    assert parse_scores(pl.Series("s", [1, 7]), ranks=(1, 7))[0].to_list() == [7, 1]
    assert parse_scores(pl.Series("s", [0, 3]), ranks=(0, 3))[0].to_list() == [4, 1]
    assert get_rank_score_range((0, 3)) == get_rank_score_range((1, 4)) == (1, 4)


def test_the_mean_leaves_out_what_is_not_rated() -> None:
    frame = pl.DataFrame(
        {"score": [None], "score.a": [1.0], "score.b": [None]}, schema_overrides={"score.b": pl.Float64}
    )
    assert choose_score(frame, "mean")["score"].to_list() == [1]
    assert choose_score(frame, "a")["score"].to_list() == [1]


def test_the_range_is_closed() -> None:
    frame = pl.DataFrame({"score": [0.9, 1.0, 10.0, 10.1, None]})
    assert find_range_faults(frame, "score", (1, 10)).is_null().to_list() == [False, True, True, False, True]


def test_names_tell_the_range_of_ranks_and_of_helpsteers_five_aspects() -> None:
    assert guess_score_range({"rank": "rank"}, (), "overall") == (1, 7)
    five = dict.fromkeys(MARKED_ASPECTS, "")
    assert guess_score_range({"score": "helpfulness"}, five, "overall") == guess_score_range({}, five, "mean") == (0, 4)
    assert guess_score_range({"score": "quality"}, five, "overall") is None
    assert guess_score_range({"score": "score"}, ("helpfulness", "verbosity"), "helpfulness") is None


@pytest.mark.parametrize("spelled", [[9.0], [True], ["7"], "[9.0]", "[ 9 ]", "true", "False", True])
def test_lists_of_one_number_and_truth_values_are_numbers(spelled: object) -> None:
    scores, faults = parse_scores(pl.Series("s", [spelled, spelled]))
    assert faults.null_count() == 2
    assert set(scores) <= {9.0, 7.0, 1.0, 0.0} and scores.null_count() == 0


@pytest.mark.parametrize("spelled", [[1.0, 2.0], "[1, 2]", "yes", [[1.0, 2.0]], {"a": 1}])
def test_what_holds_no_single_number_is_none(spelled: object) -> None:
    assert parse_scores(pl.Series("s", [spelled]))[1].to_list() == ["is not a number"]
