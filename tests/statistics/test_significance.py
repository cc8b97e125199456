import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.errors import SettingsError
from prefboost.statistics import holm, minimum_detectable_effect, run_paired_test


@given(st.dictionaries(st.integers(), st.floats(0, 1), max_size=8))
def test_adjusted_chances_keep_their_order_and_never_shrink(chances):
    result = holm(chances)
    assert all(chances[name] <= result[name] <= 1 for name in chances)
    ranked = sorted(chances, key=lambda name: chances[name])
    assert all(result[first] <= result[second] for first, second in itertools.pairwise(ranked))


def test_holm_gives_the_textbook_values():
    result = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert {name: round(value, 12) for name, value in result.items()} == {"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02}


def test_a_missing_chance_counts_as_no_test():
    result = holm({"a": 0.04, "b": float("nan")})
    assert result["a"] == 0.04
    assert np.isnan(result["b"])


def test_a_difference_is_found_where_it_is_there_and_not_against_itself():
    shares = np.random.default_rng(0).uniform(size=200)
    assert run_paired_test(shares + 0.1 + np.random.default_rng(1).normal(0, 0.1, 200), shares).chance < 1e-6
    assert run_paired_test(shares, shares).chance == 1.0


def test_both_orders_count_as_one_prompt():
    rng = np.random.default_rng(2)
    first, second = rng.uniform(size=100), rng.uniform(size=100)
    twice = run_paired_test(np.repeat(first, 2), np.repeat(second, 2), clusters=np.repeat(np.arange(100), 2))
    assert twice.error == pytest.approx(run_paired_test(first, second).error)


def test_the_detectable_effect_is_found_as_often_as_it_says():
    rng, result = np.random.default_rng(3), 0
    effect = minimum_detectable_effect(1.0)
    assert effect == pytest.approx(2.8016, abs=1e-4)
    result = (np.abs(rng.normal(effect, 1, 20_000)) > 1.959964).mean()
    assert result == pytest.approx(0.8, abs=0.01)


def test_a_level_of_one_is_refused():
    with pytest.raises(SettingsError, match="between 0 and 1"):
        minimum_detectable_effect(1.0, level=1.0)
