"""Measures of diversity have their values at known points."""

from __future__ import annotations

import math

import numpy as np
import pytest

from prefboost.synthesis.diversity import measure_distinct, measure_evenness, measure_spread


def test_distinct_n_is_the_share_of_different_n_grams() -> None:
    assert measure_distinct(["a b a b", "a b"], 1) == pytest.approx(2 / 6)
    assert measure_distinct(["a b a b", "a b"], 2) == pytest.approx(2 / 4)
    assert measure_distinct(["A b!", "c"], 1) == 1.0
    assert math.isnan(measure_distinct(["", "a"], 2))


def test_distinct_n_looks_at_so_many_words() -> None:
    assert measure_distinct(["a b c", "a a a a a"], 1, words=3) == 1.0
    assert measure_distinct(["a b c", "a a a a a"], 1, words=4) == pytest.approx(3 / 4)


def test_spread_is_the_mean_cosine_distance() -> None:
    draw = np.random.default_rng(0)
    vectors = draw.normal(size=(20, 5))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    pairs = [1 - vectors[i] @ vectors[j] for i in range(20) for j in range(20) if i != j]
    assert measure_spread(vectors) == pytest.approx(np.mean(pairs))
    assert measure_spread(np.ones((3, 1))) == pytest.approx(0.0)
    assert math.isnan(measure_spread(np.ones((1, 1))))


def test_evenness_is_one_where_all_are_used_alike() -> None:
    assert measure_evenness({"a": 5, "b": 5}) == pytest.approx(1.0)
    assert measure_evenness({"a": 5, "b": 5}, among=4) == pytest.approx(0.5)
    assert measure_evenness({"a": 9, "b": 0}) == pytest.approx(0.0)
    assert math.isnan(measure_evenness({}))
