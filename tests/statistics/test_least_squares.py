"""Fits from sums by cluster equal fits of the rows, in the data and in every resample."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefboost.errors import DataError
from prefboost.statistics import Bootstrap, bootstrap
from prefboost.statistics.least_squares import ResampledFits

HOW = Bootstrap(resamples=100)


def fit_rows(y: np.ndarray, *x: np.ndarray) -> float:
    return float(np.linalg.lstsq(np.column_stack([*x, np.ones(len(y))]), y, rcond=None)[0][0])


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.floats(-1e4, 1e4))
def test_a_slope_and_its_interval_are_those_of_fits_row_by_row(seed: int, offset: float) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(60, 2)) + offset
    y = x @ [2.0, -1.0] + rng.normal(size=60)
    clusters = rng.integers(12, size=60)
    fits = ResampledFits(y, [*x.T], clusters=clusters, how=HOW)
    for found, expected in (
        (fits.estimate_slope(0, [1]), bootstrap(fit_rows, y, *x.T, clusters=clusters, how=HOW)),
        (fits.estimate_slope(1), bootstrap(fit_rows, y, x[:, 1], clusters=clusters, how=HOW)),
    ):
        assert [found.estimate, found.low, found.high] == pytest.approx(
            [expected.estimate, expected.low, expected.high], abs=1e-4
        )
        assert (found.rows, found.clusters) == (expected.rows, expected.clusters)


def test_the_share_that_goes_with_another_column() -> None:
    rng = np.random.default_rng(1)
    goal = rng.normal(size=400)
    words = goal + rng.normal(size=400)
    # Half of the goal's effect of 2 goes through the words.
    fits = ResampledFits(goal + words, [goal, words], how=HOW)
    assert fits.estimate_slope(0).estimate == pytest.approx(2.0, abs=0.2)
    assert fits.estimate_share(1, 0).estimate == pytest.approx(0.5, abs=0.1)


def test_a_constant_column_has_no_slope_and_takes_none_from_another() -> None:
    y, x, constant = np.arange(8.0), np.arange(8.0) * 2, np.full(8, 1e6 / 3)
    fits = ResampledFits(y, [x, constant], how=HOW)
    assert math.isnan(fits.estimate_slope(1).estimate)
    assert fits.estimate_slope(0, [1]).estimate == pytest.approx(0.5)
    with pytest.raises(DataError):
        ResampledFits(y, [[math.nan] * 8])
