import alpaca_oracle
import numpy as np
import pytest

from prefboost.errors import DataError
from prefboost.statistics import bounds_of, win_rate


@alpaca_oracle.needs_oracle()
def test_every_published_win_rate_and_standard_error_comes_out():
    published, seen = alpaca_oracle.published(), 0
    for model, rows in alpaca_oracle.judged():
        found, its = win_rate(rows.shares), published[model]
        assert 100 * found.share.estimate == pytest.approx(its["win_rate"], abs=1e-9), model
        assert 100 * found.upstream_error == pytest.approx(its["standard_error"], abs=1e-9), model
        if its["discrete_win_rate"] is not None:
            assert 100 * found.discrete == pytest.approx(its["discrete_win_rate"], abs=1e-6), model
        seen += 1
    assert seen == 35


def test_both_orders_of_a_prompt_count_as_one():
    shares = np.random.default_rng(0).uniform(size=50)
    found = win_rate(np.repeat(shares, 2), prompts=np.repeat(np.arange(50), 2))
    assert found.error == pytest.approx(win_rate(shares).error)
    assert found.upstream_error < 0.8 * found.error


def test_a_tie_is_half_a_win_and_anything_above_is_a_whole_one():
    assert win_rate([0.5, 0.51, 0.2]).discrete == pytest.approx(0.5)


def test_shares_outside_of_their_range_are_refused():
    with pytest.raises(DataError, match="shares of a win lie in"):
        win_rate([1.2, 0.4])


def test_bounds_hold_whatever_is_missing():
    assert bounds_of([1.0, 0.0], 2) == (0.25, 0.75)
    assert bounds_of([], 0) == (0.0, 1.0)
