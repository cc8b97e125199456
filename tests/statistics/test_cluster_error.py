from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.statistics import cluster_standard_error

values = st.lists(st.floats(-100, 100).map(lambda x: round(x, 3)), min_size=2, max_size=40)


@given(values)
def test_with_one_row_a_cluster_it_is_the_usual_standard_error(drawn):
    assert cluster_standard_error(drawn) == pytest.approx(np.std(drawn, ddof=1) / math.sqrt(len(drawn)), abs=1e-9)


@given(values, st.integers(2, 4))
def test_repeating_every_row_within_its_cluster_adds_no_certainty(drawn, times):
    labels = np.arange(len(drawn)).repeat(times)
    assert cluster_standard_error(np.repeat(drawn, times), labels) == pytest.approx(
        cluster_standard_error(drawn), abs=1e-9
    )


def test_one_cluster_has_no_standard_error():
    assert math.isnan(cluster_standard_error([1, 2], ["a", "a"]))


def test_it_is_the_spread_of_the_mean_over_many_draws():
    rng = np.random.default_rng(0)
    means, errors = [], []
    for _ in range(300):
        drawn = rng.normal(0, 1, 30).repeat(4) + rng.normal(0, 1, 120)
        means.append(drawn.mean())
        errors.append(cluster_standard_error(drawn, np.arange(30).repeat(4)))
    assert np.mean(errors) == pytest.approx(np.std(means), rel=0.1)
