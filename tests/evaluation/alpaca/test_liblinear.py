import sys

import numpy as np
import pytest

from prefboost.errors import MissingExtra
from prefboost.evaluation.alpaca.liblinear import length_control_liblinear
from prefboost.statistics import GamedRows, LengthRows, fit_length_control


def rows_of(seed: int) -> LengthRows:
    rng = np.random.default_rng(seed)
    longer = rng.normal(100, 300, 200)
    return LengthRows(1 / (1 + np.exp(longer / 200 - rng.normal(0, 2, 200))), longer)


@pytest.mark.parametrize("seed", range(5))
def test_the_exact_fit_is_what_liblinear_comes_near_to(seed):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed (extra eval)")
    rows = rows_of(seed)
    for penalty in (0.01, 0.3, 10.0):
        one, other = fit_length_control(rows, penalty), length_control_liblinear(rows, penalty)
        assert one.share == pytest.approx(other.share, abs=2e-4)
        for name, value in other.coefficients.items():
            assert one.coefficients[name] == pytest.approx(value, abs=3e-3)


@pytest.mark.parametrize("seed", range(3))
def test_cross_validation_chooses_as_well_as_scikit_learn_does(seed):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed (extra eval)")
    rows = rows_of(seed)
    assert fit_length_control(rows).share == pytest.approx(length_control_liblinear(rows).share, abs=2e-3)


@pytest.mark.parametrize("seed", range(3))
def test_difficulty_and_gamed_rows_are_fitted_as_scikit_learn_does(seed):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed (extra eval)")
    rng = np.random.default_rng(seed)
    gamed = GamedRows(rng.uniform(size=120), rng.normal(size=120), rng.normal(size=120))
    rows = LengthRows(rng.uniform(size=150), rng.normal(-100, 300, 150), rng.normal(size=150), gamed)
    for penalty in (0.05, 1.0, 50.0):
        one, other = fit_length_control(rows, penalty), length_control_liblinear(rows, penalty)
        assert one.share == pytest.approx(other.share, abs=2e-4)
        assert one.upstream_error == pytest.approx(other.upstream_error, abs=2e-4)
    assert fit_length_control(rows).share == pytest.approx(length_control_liblinear(rows).share, abs=2e-3)


def test_without_scikit_learn_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(MissingExtra, match=r"prefboost\[eval\]"):
        length_control_liblinear(rows_of(0), 1.0)
