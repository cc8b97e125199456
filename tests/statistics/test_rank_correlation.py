from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.statistics import rank_values, spearman, spearman_within

columns = st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=2, max_size=25)


@given(columns)
def test_ranks_count_the_smaller_and_half_of_the_equal(drawn):
    values = np.array([a for a, _ in drawn])
    expected = [(values < v).sum() + ((values == v).sum() + 1) / 2 for v in values]
    assert rank_values(values).tolist() == expected


@given(columns)
def test_rho_is_symmetric_bounded_and_blind_to_monotone_maps(drawn):
    a, b = (np.array(column, dtype=float) for column in zip(*drawn, strict=True))
    rho = spearman(a, b)
    if math.isnan(rho):
        assert len(set(a)) == 1 or len(set(b)) == 1
        return
    assert -1 <= rho <= 1
    assert spearman(b, a) == pytest.approx(rho)
    assert spearman(a**3, np.exp(b)) == pytest.approx(rho)
    assert spearman(a, -b) == pytest.approx(-rho)


@given(st.permutations(range(8)))
def test_without_ties_rho_equals_the_textbook_formula(order):
    distance = sum((i - j) ** 2 for i, j in enumerate(order))
    assert spearman(range(8), order) == pytest.approx(1 - 6 * distance / (8 * 63))


def test_within_groups_the_differences_between_groups_do_not_count():
    groups = ["a"] * 3 + ["b"] * 3
    first, second = [1, 2, 3, 11, 12, 13], [3, 2, 1, 13, 12, 11]
    assert spearman(first, second) > 0.4
    result = spearman_within(first, second, groups)
    assert (result.mean, result.groups, result.left_out) == (-1, 2, 0)


def test_groups_that_rank_nothing_are_counted():
    result = spearman_within([1, 2, 3, 4, 4], [1, 2, 9, 5, 6], ["a", "a", "b", "c", "c"])
    assert (result.mean, result.groups, result.left_out) == (1, 1, 2)
    assert math.isnan(spearman_within([1], [1], ["a"]).mean)
