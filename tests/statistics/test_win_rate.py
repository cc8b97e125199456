import numpy as np
import pytest

from prefboost.errors import DataError
from prefboost.statistics import compute_share_bounds, measure_win_rate


def test_both_orders_of_a_prompt_count_as_one():
    shares = np.random.default_rng(0).uniform(size=50)
    result = measure_win_rate(np.repeat(shares, 2), prompts=np.repeat(np.arange(50), 2))
    assert result.error == pytest.approx(measure_win_rate(shares).error)
    assert result.upstream_error < 0.8 * result.error


def test_a_tie_is_half_a_win_and_anything_above_is_a_whole_one():
    assert measure_win_rate([0.5, 0.51, 0.2]).discrete == pytest.approx(0.5)


def test_shares_outside_of_their_range_are_refused():
    with pytest.raises(DataError, match="shares of a win must be in"):
        measure_win_rate([1.2, 0.4])


def test_bounds_hold_whatever_is_missing():
    assert compute_share_bounds([1.0, 0.0], 2) == (0.25, 0.75)
    assert compute_share_bounds([], 0) == (0.0, 1.0)
