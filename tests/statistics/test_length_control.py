import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefboost.errors import DataError
from prefboost.statistics import Bootstrap, GamedRows, LengthRows, fit_length_control
from prefboost.statistics.length_control import (
    GRID,
    assign_folds,
    estimate_length_control,
    resample_length_control,
)


def rows_of(seed: int, count: int = 80, pull: float = 1.0) -> LengthRows:
    rng = np.random.default_rng(seed)
    length_deltas = rng.normal(0, 300, count)
    return LengthRows(1 / (1 + np.exp(pull * length_deltas / 300 - rng.normal(0, 1, count))), length_deltas)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000))
def test_a_model_that_is_swapped_with_the_baseline_has_the_rest_of_the_share(seed):
    rows = rows_of(seed)
    other = LengthRows(1 - np.asarray(rows.shares), -np.asarray(rows.length_deltas))
    penalty = float(GRID[5])
    assert fit_length_control(rows, penalty).share == pytest.approx(
        1 - fit_length_control(other, penalty).share, abs=1e-7
    )


def test_a_model_against_itself_has_one_half():
    assert fit_length_control(LengthRows(np.full(50, 0.5), np.zeros(50))).share == pytest.approx(0.5, abs=1e-12)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000))
def test_rows_in_another_order_give_the_same_fit(seed):
    rows, mixed = rows_of(seed), np.random.default_rng(seed).permutation(80)
    again = LengthRows(np.asarray(rows.shares)[mixed], np.asarray(rows.length_deltas)[mixed])
    assert fit_length_control(again, 10.0).share == pytest.approx(fit_length_control(rows, 10.0).share, abs=1e-9)


def test_length_alone_is_taken_out():
    rng = np.random.default_rng(0)
    length_deltas = rng.normal(-300, 200, 2000)
    shares = rng.uniform(size=2000) < 1 / (1 + np.exp(length_deltas / 100))
    result = fit_length_control(LengthRows(shares.astype(float), length_deltas))
    assert shares.mean() > 0.85
    assert result.share < shares.mean() - 0.1
    assert result.minimal


def test_a_model_that_is_always_longer_is_fitted_and_resampled():
    rng = np.random.default_rng(0)
    rows = LengthRows(rng.uniform(size=100), rng.normal(-300, 40, 100))
    assert np.isfinite(resample_length_control(rows, Bootstrap(resamples=100))).all()


def test_both_orders_of_a_prompt_share_a_fold_and_a_draw():
    rows = rows_of(1, 40)
    twice = LengthRows(
        np.repeat(rows.shares, 2),
        np.repeat(rows.length_deltas, 2),
        prompts=np.repeat([f"{n:02d}" for n in range(40)], 2),
    )
    how = Bootstrap(resamples=100)
    once, doubled = resample_length_control(rows, how), resample_length_control(twice, how)
    assert doubled.std() == pytest.approx(once.std(), rel=0.15)


def test_rows_of_a_prompt_with_the_same_features_are_fitted_as_one_and_give_the_same():
    rng = np.random.default_rng(4)
    columns = (rng.normal(0, 300, 30), rng.normal(size=30), np.arange(30))
    length_deltas, difficulty, prompts = (np.repeat(each, 2) for each in columns)
    shares = rng.uniform(size=60)
    reported = 0.1 * rng.normal(size=60)  # characters that keep rows of a prompt apart
    first, apart = (
        LengthRows(shares, length_deltas + extra, difficulty, None, prompts) for extra in (0.0, 1e-6 * reported)
    )
    result, second = fit_length_control(first, 10.0), fit_length_control(apart, 10.0)
    assert result.share == pytest.approx(second.share, abs=1e-7)
    assert result.upstream_error == pytest.approx(second.upstream_error, rel=1e-4)
    how = Bootstrap(resamples=100)
    assert resample_length_control(first, how) == pytest.approx(resample_length_control(apart, how), abs=1e-5)
    assert estimate_length_control(first, how)[0].rows == 60


def test_draws_are_the_same_for_any_number_of_threads_and_are_the_whole_procedure():
    rows, how = rows_of(2, 40), Bootstrap(resamples=100, seed=5)
    draws = resample_length_control(rows, how)
    assert np.array_equal(draws, resample_length_control(rows, how, threads=2))
    counts = np.random.default_rng(5).multinomial(40, np.full(40, 1 / 40), size=100)[7]
    chosen = np.repeat(np.arange(40), counts)
    naive = LengthRows(np.asarray(rows.shares)[chosen], np.asarray(rows.length_deltas)[chosen])
    shares = [fit_length_control(naive, float(penalty)).share for penalty in GRID]
    assert min(abs(share - draws[7]) for share in shares) < 1e-7


def test_the_interval_is_wider_than_upstream_says():
    rows = rows_of(3, 100)
    interval, error = estimate_length_control(rows, Bootstrap(resamples=100))
    assert interval.low < fit_length_control(rows).share < interval.high
    assert error > 1.5 * fit_length_control(rows).upstream_error


def test_folds_are_even_and_cover_all():
    assert sorted(np.bincount(assign_folds(83)).tolist()) == [16, 16, 17, 17, 17]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (LengthRows([0.5, 1.5], [1, 2]), "must be in 0..1"),
        (LengthRows([0.5, np.nan], [1, 2]), "nan"),
        (LengthRows([0.5, 0.5], [1, 2], gamed=GamedRows(np.ones(1), np.ones(1), np.ones(1))), "difficulty"),
    ],
)
def test_what_cannot_be_fitted_is_refused(rows, message):
    with pytest.raises(DataError, match=message):
        fit_length_control(rows)
