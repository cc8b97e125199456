"""The offset of length: a known truth is recovered, and it is the point of greatest likelihood."""

from __future__ import annotations

import numpy as np
import pytest

from prefboost.training.length_offset import fitted_offset


def test_a_planted_coefficient_is_recovered() -> None:
    draw = np.random.default_rng(0)
    difference = draw.normal(size=20_000)
    first = draw.random(20_000) < 1 / (1 + np.exp(-0.7 * difference))
    longer = np.where(first, difference, -difference)
    assert fitted_offset(longer, np.ones(20_000), np.ones(20_000)) == pytest.approx(0.7, abs=0.05)


def test_the_likelihood_is_greatest_there_with_soft_labels_and_weights() -> None:
    draw = np.random.default_rng(1)
    longer, wins, weight = draw.normal(size=200), draw.uniform(0.3, 1, 200), draw.uniform(0, 2, 200)

    def likelihood(offset: float) -> float:
        p = 1 / (1 + np.exp(-offset * longer))
        return float(np.sum(weight * (wins * np.log(p) + (1 - wins) * np.log(1 - p))))

    best = fitted_offset(longer, wins, weight)
    assert all(likelihood(best) >= likelihood(best + step) for step in (-0.01, 0.01))


def test_equal_lengths_have_no_offset_and_a_perfect_rule_a_finite_one() -> None:
    ones = np.ones(5)
    assert fitted_offset(np.zeros(5), ones, ones) == 0.0
    assert 0 < fitted_offset(ones, ones, ones) <= 50.0
    assert fitted_offset(ones, ones, np.zeros(5)) == 0.0


def test_a_weight_counts_as_so_many_pairs() -> None:
    longer, wins = np.array([1.0, -2.0, 0.5]), np.array([1.0, 1.0, 0.4])
    repeated = np.array([0, 0, 1, 2, 2, 2])
    weighted = fitted_offset(longer, wins, np.array([2.0, 1.0, 3.0]))
    assert weighted == pytest.approx(fitted_offset(longer[repeated], wins[repeated], np.ones(6)))
