from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.statistics import Bootstrap, bootstrap_slope, bootstrap_slope_difference, fit_slope

rows = st.lists(st.tuples(st.integers(1, 10), st.integers(1, 10)), min_size=2, max_size=30)


@given(rows)
def test_the_slope_is_that_of_a_polynomial_fit(drawn):
    requested, achieved = (np.array(column, dtype=float) for column in zip(*drawn, strict=True))
    if len(set(requested)) == 1:
        assert math.isnan(fit_slope(requested, achieved))
    else:
        assert fit_slope(requested, achieved) == pytest.approx(np.polyfit(requested, achieved, 1)[0], abs=1e-9)


@pytest.mark.parametrize("true", [1.0, 0.3, 0.0])
def test_the_interval_holds_the_slope_of_a_policy_that_listens_so_much(true):
    rng = np.random.default_rng(3)
    requested = np.tile([1.0, 4.0, 7.0, 10.0], 60)
    prompts = np.arange(60).repeat(4)
    achieved = 5 + true * (requested - 5.5) + rng.normal(0, 1, 60)[prompts] + rng.normal(0, 0.5, 240)
    result = bootstrap_slope(requested, achieved, clusters=prompts, how=Bootstrap(resamples=500))
    assert not result.excludes(true) and result.clusters == 60
    assert result.excludes(true + 0.1)


def test_the_difference_of_slopes_varies_only_in_what_the_policies_do_not_share():
    rng = np.random.default_rng(4)
    requested, prompts = np.tile([1.0, 4.0, 7.0, 10.0], 40), np.arange(40).repeat(4)
    shared = rng.normal(0, 0.5, 40)[prompts] * (requested - 5.5)
    first, second = (true * requested + shared + rng.normal(0, 0.1, 160) for true in (0.3, 0.2))
    gap = bootstrap_slope_difference(requested, first, second, clusters=prompts)
    assert gap.estimate == pytest.approx(fit_slope(requested, first) - fit_slope(requested, second))
    assert gap.low > 0 and not gap.excludes(0.1) and gap.clusters == 40
    alone = bootstrap_slope(requested, first, clusters=prompts)
    assert gap.high - gap.low < (alone.high - alone.low) / 5
    turned = bootstrap_slope_difference(requested, second, first, clusters=prompts)
    assert (turned.low, turned.high) == pytest.approx((-gap.high, -gap.low))
