from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.errors import DataError
from prefboost.statistics.calibration import measure_calibration

shares = st.floats(0, 1).map(lambda x: round(x, 4))


def test_forecasts_that_come_true_as_often_as_they_say_have_no_error():
    rng = np.random.default_rng(0)
    forecasts = rng.random(20_000)
    result = measure_calibration(forecasts, rng.random(20_000) < forecasts)
    assert result.error < 0.02
    assert result.brier == pytest.approx(1 / 6, abs=0.01)
    assert measure_calibration(forecasts, rng.random(20_000) < 0.5).error > 0.2


@given(st.lists(st.tuples(shares, st.sampled_from([0.0, 0.5, 1.0])), min_size=1, max_size=40), st.integers(1, 12))
def test_ranges_hold_every_row_once_and_the_error_lies_in_one(rows, bins):
    result = measure_calibration([forecast for forecast, _ in rows], [came for _, came in rows], bins=bins)
    assert sum(each.rows for each in result.bins) == len(rows)
    assert all(each.low - 1e-9 <= each.forecast <= each.high + 1e-9 for each in result.bins)
    assert 0 <= result.error <= 1
    mean = np.mean([forecast - came for forecast, came in rows])
    assert result.error >= abs(mean) - 1e-9  # with one range it is the difference of the means


def test_sure_and_right_has_neither_error_nor_brier():
    result = measure_calibration([1.0, 0.0, 1.0], [1, 0, 1])
    assert (result.error, result.brier, [each.rows for each in result.bins]) == (0, 0, [1, 2])


def test_numbers_that_are_no_probabilities_are_refused():
    with pytest.raises(DataError, match="is outside"):
        measure_calibration([1.2], [1])
