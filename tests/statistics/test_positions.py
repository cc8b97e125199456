import pytest

from prefboost.errors import DataError
from prefboost.statistics import report_positions


def test_a_judge_who_likes_the_second_place_swings_that_way():
    result = report_positions([0, 1, 0, 1], [True, False, True, False], ["a", "a", "b", "b"])
    assert (result.shown_first.estimate, result.shown_second.estimate) == (0, 1)
    assert result.swing.estimate == 1
    assert result.consistency.estimate == 0


def test_a_judge_who_looks_at_merit_alone_is_consistent():
    result = report_positions([0.9, 0.8, 0.5, 0.5], [True, False, True, False], ["a", "a", "b", "b"])
    assert result.consistency.estimate == 1
    assert result.ties == 0.5


def test_one_order_alone_tells_nothing_of_consistency():
    result = report_positions([0.9, 0.8], [True, True], ["a", "b"])
    assert result.consistency is None
    assert result.shown_second is None


def test_a_prompt_that_stands_twice_in_one_order_is_refused():
    with pytest.raises(DataError, match="repeat a prompt"):
        report_positions([0.9, 0.8], [True, True], ["a", "a"])


def test_columns_of_different_lengths_are_refused():
    with pytest.raises(DataError, match="2 shares, 2 places and 1 prompts"):
        report_positions([0.9, 0.8], [True, False], ["a"])
