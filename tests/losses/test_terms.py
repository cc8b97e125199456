from __future__ import annotations

import math

import mpmath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.losses import terms

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

logits = st.floats(-1e4, 1e4, allow_subnormal=False)


def double(value):
    return torch.tensor(value, dtype=torch.float64)


@given(logits)
def test_log_sigmoid_equals_its_definition_in_high_precision(x):
    with mpmath.workdps(60):
        expected = float(-mpmath.log1p(mpmath.exp(-mpmath.mpf(x))))
    assert terms.log_sigmoid(double(x)).item() == pytest.approx(expected, rel=1e-12, abs=1e-300)


@given(logits, st.floats(0, 0.49))
def test_the_smoothed_logistic_loss_is_the_mean_of_both_labels(x, smoothing):
    expected = (1 - smoothing) * terms.logistic(double(x)).item() + smoothing * terms.logistic(double(-x)).item()
    assert terms.logistic(double(x), smoothing).item() == pytest.approx(expected, rel=1e-12)


@given(st.floats(0.01, 0.49))
def test_the_smoothed_logistic_loss_is_least_where_the_probability_is_that_of_the_label(smoothing):
    best = math.log((1 - smoothing) / smoothing)
    around = [terms.logistic(double(best + step), smoothing).item() for step in (-0.1, 0.0, 0.1)]
    assert around[1] == min(around)


@given(st.floats(-30, 30), st.floats(-30, 30))
def test_the_kl_equals_its_definition_and_is_never_negative(a, b):
    with mpmath.workdps(60):
        p, q = (1 / (1 + mpmath.exp(-mpmath.mpf(x))) for x in (a, b))
        expected = float(p * mpmath.log(p / q) + (1 - p) * mpmath.log((1 - p) / (1 - q)))
    result = terms.bernoulli_kl(double(a), double(b)).item()
    assert result == pytest.approx(expected, rel=1e-9, abs=1e-13)
    assert result >= -1e-14


@given(st.floats(-60, -1e-12))
def test_the_log_odds_equal_their_definition(logp):
    with mpmath.workdps(60):
        p = mpmath.exp(mpmath.mpf(logp))
        expected = float(mpmath.log(p / (1 - p)))
    assert terms.log_odds(double(logp)).item() == pytest.approx(expected, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_log_odds_of_a_certain_completion_are_finite_with_a_finite_gradient(dtype):
    logp = torch.tensor([0.0, -1e4], dtype=dtype, requires_grad=True)
    odds = terms.log_odds(logp)
    odds.sum().backward()
    assert odds.isfinite().all() and logp.grad.isfinite().all()


def test_a_nan_stays_a_nan():
    nan = double(float("nan"))
    assert all(f(nan).isnan() for f in (terms.log_sigmoid, terms.logistic, terms.log_odds))
    assert terms.bernoulli_kl(nan, double(0.0)).isnan() and terms.bernoulli_kl(double(0.0), nan).isnan()


def test_the_likelihood_is_averaged_over_what_is_asked_for(numbers, batch):
    arrays = numbers(5)
    pairs = batch(arrays)
    rows = {mean: terms.compute_chosen_nll(pairs, mean).detach().numpy() for mean in ("completion", "batch", "none")}
    assert rows["none"] == pytest.approx(-arrays["chosen"])
    assert rows["completion"] == pytest.approx(-arrays["chosen"] / arrays["length_chosen"])
    assert rows["batch"].mean() == pytest.approx(-arrays["chosen"].sum() / arrays["length_chosen"].sum())
