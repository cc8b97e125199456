import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefboost.errors import DataError
from prefboost.statistics.sparse_logistic import SoftLabels, compute_log_odds, cross_entropy, fit_sparse


def made(seed: int, rows: int = 60) -> SoftLabels:
    rng = np.random.default_rng(seed)
    return SoftLabels((rng.standard_normal(rows), rng.standard_normal(rows), np.ones(rows)), rng.uniform(size=rows))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), power=st.floats(-3, 4))
def test_the_optimum_meets_the_conditions_of_the_penalised_objective(seed, power):
    data, inverse = made(seed), 10.0**power
    weights = np.random.default_rng(seed + 1).uniform(0, 2, (1, 60))
    result = fit_sparse(data, weights, np.array([inverse]))
    residual = weights * (1 / (1 + np.exp(-compute_log_odds(data, result))) - data.shares)
    for column, first in zip(data.columns, result[0], strict=True):
        slope = float((residual * column).sum())
        if first == 0:
            assert abs(slope) <= 1 / inverse + 1e-6
        else:
            assert slope == pytest.approx(-np.sign(first) / inverse, abs=1e-5)


def test_fits_side_by_side_are_what_they_are_alone():
    data, weights = made(3), np.random.default_rng(0).integers(0, 3, (4, 60)).astype(float)
    penalties = np.array([0.05, 0.3, 10.0, 1e4])
    together = fit_sparse(data, weights, penalties)
    alone = [fit_sparse(data, weights[at : at + 1], penalties[at : at + 1])[0] for at in range(4)]
    assert np.allclose(together, alone, atol=1e-9)


def test_where_it_begins_does_not_matter():
    data, weights = made(4), np.ones((1, 60))
    far = fit_sparse(data, weights, np.array([5.0]), np.array([[4.0, -3.0, 2.0]]))
    assert np.allclose(far, fit_sparse(data, weights, np.array([5.0])), atol=1e-8)


def test_a_column_may_differ_between_fits():
    data = made(5)
    both = SoftLabels((np.stack([data.columns[0], data.columns[0] * 2]), *data.columns[1:]), data.shares)
    result = fit_sparse(both, np.ones((2, 60)), np.full(2, 1e8))
    assert result[0, 0] == pytest.approx(2 * result[1, 0], abs=1e-5)


def test_columns_that_nearly_agree_are_fitted_to_the_optimum():
    rng = np.random.default_rng(0)
    near = 1 + rng.normal(0, 1e-3, 60)
    data = SoftLabels((near, np.ones(60)), rng.uniform(0.55, 0.65, 60))
    result = fit_sparse(data, np.ones((1, 60)), np.array([1e4]))
    residual = 1 / (1 + np.exp(-compute_log_odds(data, result))) - data.shares
    assert abs(float((residual * data.columns[0]).sum())) <= 1e-4 + 1e-6


def test_the_loss_is_finite_for_any_odds():
    lost = cross_entropy(np.array([[0.0, 1.0, 0.5]]), np.array([[2000.0, -2000.0, 0.0]]))
    assert np.allclose(lost, [[2000, 2000, np.log(2)]])


def test_numbers_that_are_not_finite_are_named_and_not_fitted():
    with pytest.raises(DataError, match="do not converge"):
        fit_sparse(SoftLabels((np.array([np.nan, 1.0]),), np.array([0.5, 1.0])), np.ones((1, 2)), np.ones(1))
