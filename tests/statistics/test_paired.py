from __future__ import annotations

import numpy as np
import pytest

from prefboost.errors import DataError
from prefboost.statistics import bootstrap_difference, bootstrap_mean, match_means


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def test_the_difference_of_a_policy_with_itself_is_zero_with_no_width(rng):
    values = rng.normal(size=50)
    result = bootstrap_difference(values, values)
    assert (result.estimate, result.low, result.high) == (0, 0, 0)


def test_swapping_the_policies_turns_the_interval_over(rng):
    first, second = rng.normal(size=(2, 80))
    left, right = bootstrap_difference(first, second), bootstrap_difference(second, first)
    assert (left.estimate, left.low, left.high) == pytest.approx((-right.estimate, -right.high, -right.low))


def test_pairing_is_sharper_than_two_means_where_prompts_differ_in_difficulty(rng):
    difficulty = rng.normal(0, 3, 100)
    first, second = difficulty + 0.5 + rng.normal(0, 0.5, 100), difficulty + rng.normal(0, 0.5, 100)
    result = bootstrap_difference(first, second)
    alone = bootstrap_mean(first)
    assert result.excludes(0) and result.high - result.low < (alone.high - alone.low) / 3


def test_rows_are_matched_by_key_and_averaged():
    keys, first, second = match_means((["a", "b", "a"], [1, 5, 3]), (["b", "a"], [7, 0]))
    assert (keys, first.tolist(), second.tolist()) == (["a", "b"], [2, 5], [0, 7])


def test_a_prompt_on_one_side_only_is_named():
    with pytest.raises(DataError, match=r"1 of 2 keys are on one side only, such as \('b', 7\)"):
        match_means(([("a", 1), ("b", 7)], [1, 2]), ([("a", 1)], [1]))


def test_a_key_too_few_is_refused():
    with pytest.raises(DataError, match="1 keys for 2 numbers"):
        match_means((["a"], [1, 2]), (["a"], [1]))
