import pytest

from prefboost.errors import DataError
from prefboost.statistics import report_positions


def test_a_judge_who_likes_the_second_place_swings_that_way():
    found = report_positions([0, 1, 0, 1], [True, False, True, False], ["a", "a", "b", "b"])
    assert (found.shown_first.estimate, found.shown_second.estimate) == (0, 1)
    assert found.swing.estimate == 1
    assert found.consistency.estimate == 0


def test_a_judge_who_looks_at_merit_alone_is_consistent():
    found = report_positions([0.9, 0.8, 0.5, 0.5], [True, False, True, False], ["a", "a", "b", "b"])
    assert found.consistency.estimate == 1
    assert found.ties == 0.5


def test_one_order_alone_tells_nothing_of_consistency():
    found = report_positions([0.9, 0.8], [True, True], ["a", "b"])
    assert found.consistency is None
    assert found.shown_second is None


def test_a_prompt_that_stands_twice_in_one_order_is_refused():
    with pytest.raises(DataError, match="repeat a prompt"):
        report_positions([0.9, 0.8], [True, True], ["a", "a"])
