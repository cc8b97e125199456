from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefboost.errors import DataError
from prefboost.statistics import Bootstrap, bootstrap, bootstrap_mean, bootstrap_mean_by, cluster_standard_error
from prefboost.statistics.bootstrap import (
    bootstrap_crossed,
    expand_percentiles,
    student_quantile,
)

FEW = Bootstrap(resamples=200)
numbers = st.floats(-100, 100, allow_subnormal=False).map(lambda x: round(x, 3))
rows = st.lists(st.tuples(numbers, st.integers(0, 5)), min_size=2, max_size=30)


def clustered(rng, clusters=40, size=5, between=1.0, within=0.5):
    values = rng.normal(0, between, clusters).repeat(size) + rng.normal(0, within, clusters * size)
    return values, np.arange(clusters).repeat(size)


@given(rows)
@settings(max_examples=30)
def test_the_ends_lie_around_the_estimate_and_within_the_clusters_means(drawn):
    values, labels = (np.array(column, dtype=float) for column in zip(*drawn, strict=True))
    result = bootstrap_mean(values, clusters=labels, how=FEW)
    assert result.estimate == pytest.approx(values.mean())
    means = [values[labels == label].mean() for label in set(labels)]
    if len(means) > 1:
        assert min(means) - 1e-9 <= result.low <= result.high <= max(means) + 1e-9
    assert (result.rows, result.clusters, result.level) == (len(values), len(means), 0.95)


@given(rows, st.floats(0.1, 10), st.floats(-10, 10))
@settings(max_examples=30)
def test_the_interval_moves_and_stretches_with_the_values(drawn, scale, shift):
    values, labels = (np.array(column, dtype=float) for column in zip(*drawn, strict=True))
    result, moved = (bootstrap_mean(x, clusters=labels, how=FEW) for x in (values, scale * values + shift))
    if result.clusters > 1:
        assert (moved.low, moved.high) == pytest.approx((scale * result.low + shift, scale * result.high + shift))


@given(rows, st.randoms())
@settings(max_examples=30)
def test_the_order_of_the_rows_does_not_matter(drawn, random):
    turned = random.sample(drawn, len(drawn))
    result, other = (bootstrap_mean([v for v, _ in x], clusters=[c for _, c in x], how=FEW) for x in (drawn, turned))
    assert (result.low, result.high) == pytest.approx((other.low, other.high), nan_ok=True)


@given(rows)
@settings(max_examples=20)
def test_the_fast_mean_makes_the_same_draws_as_the_general_form(drawn):
    values, labels = zip(*drawn, strict=True)
    fast, general = (
        bootstrap_mean(values, clusters=labels, how=FEW),
        bootstrap(np.mean, values, clusters=labels, how=FEW),
    )
    assert (fast.low, fast.high) == pytest.approx((general.low, general.high), nan_ok=True)


def test_the_same_seed_gives_the_same_interval_and_another_seed_another(rng):
    values, labels = clustered(rng)
    first, again = (bootstrap_mean(values, clusters=labels) for _ in range(2))
    assert first == again
    assert first != bootstrap_mean(values, clusters=labels, how=Bootstrap(seed=1))


def test_drawing_clusters_whole_widens_the_interval_of_correlated_rows(rng):
    values, labels = clustered(rng)
    whole, single = bootstrap_mean(values, clusters=labels), bootstrap_mean(values)
    assert 1.5 < (whole.high - whole.low) / (single.high - single.low) < 3.0


def test_the_interval_agrees_with_the_cluster_standard_error(rng):
    values, labels = clustered(rng, clusters=200)
    result = bootstrap_mean(values, clusters=labels)
    assert (result.high - result.low) / (2 * 1.96) == pytest.approx(cluster_standard_error(values, labels), rel=0.1)


def test_about_95_of_100_intervals_hold_the_true_mean(rng):
    held = 0
    for _ in range(400):
        values, labels = clustered(rng)
        held += not bootstrap_mean(values, clusters=labels, how=Bootstrap(resamples=400)).excludes(0.0)
    assert 0.90 <= held / 400 <= 0.98


def test_any_statistic_of_several_columns_has_an_interval(rng):
    x = rng.normal(size=300)
    result = bootstrap(lambda a, b: float(np.corrcoef(a, b)[0, 1]), x, x + rng.normal(size=300), how=FEW)
    assert result.low < 1 / math.sqrt(2) < result.high


def test_intervals_of_ten_clusters_hold_the_true_mean_as_often_as_they_say_where_plain_percentiles_do_not(rng):
    held, plain = 0, 0
    for _ in range(1500):
        values = rng.normal(size=10)
        draws = values[rng.integers(10, size=(300, 10))].mean(1)
        low, high = expand_percentiles(draws, 10, 0.95)
        held += low <= 0 <= high
        low, high = np.quantile(draws, [0.025, 0.975])
        plain += low <= 0 <= high
    assert 0.93 <= held / 1500 <= 0.97
    assert plain / 1500 < 0.92


@pytest.mark.parametrize("freedom", [5, 9, 30, 500])
@pytest.mark.parametrize("share", [0.9, 0.95, 0.975, 0.995])
def test_students_quantile_is_that_of_scipy(freedom, share):
    stats = pytest.importorskip("scipy.stats", reason="scipy is not installed")
    assert student_quantile(share, freedom) == pytest.approx(
        stats.t.ppf(share, freedom), abs=8e-3 if share > 0.99 else 1e-3
    )


def test_one_cluster_says_nothing_about_the_spread():
    result = bootstrap_mean([1.0, 2.0], clusters=["a", "a"])
    assert result.estimate == 1.5 and math.isnan(result.low) and math.isnan(result.high)
    assert math.isnan(bootstrap(np.mean, [1.0, 2.0], clusters=["a", "a"]).low)


def test_every_group_has_its_mean(rng):
    goals = np.tile([10.0, 1.0, 4.0], 50)
    result = bootstrap_mean_by(goals / 2 + rng.normal(0, 0.1, 150), goals, clusters=np.arange(50).repeat(3), how=FEW)
    assert list(result) == [1.0, 4.0, 10.0]
    for goal, interval in result.items():
        assert interval.estimate == pytest.approx(goal / 2, abs=0.1)
        assert (interval.rows, interval.clusters) == (50, 50)


@pytest.mark.parametrize("values", [[], [1.0, float("nan")]])
def test_nothing_and_missing_numbers_are_refused(values):
    with pytest.raises(DataError):
        bootstrap_mean(values)
    with pytest.raises(DataError):
        bootstrap(np.mean, values)


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def draw_table(seed: int, seeds: int = 6, prompts: int = 40, spread: float = 1.0) -> np.ndarray:
    """Values with a part of the seed, a part of the prompt and noise; their mean is 0 over many tables."""
    rng = np.random.default_rng(seed)
    return spread * rng.normal(size=(seeds, 1)) + rng.normal(size=(1, prompts)) + rng.normal(size=(seeds, prompts))


def test_intervals_cover_the_truth_where_intervals_over_prompts_do_not() -> None:
    how = Bootstrap(resamples=400)
    tables = [draw_table(seed) for seed in range(150)]
    crossed = [not bootstrap_crossed(table, how).excludes(0.0) for table in tables]
    clusters = np.tile(np.arange(40), (6, 1))
    prompts_alone = [
        not bootstrap_mean(table.ravel(), clusters=clusters.ravel(), how=how).excludes(0.0) for table in tables
    ]
    # Nominal 95 %: of 150 tables the share has a standard error of 1.8 points.
    assert np.mean(crossed) >= 0.90
    assert np.mean(prompts_alone) < 0.75


def test_the_estimate_is_the_mean_and_draws_repeat() -> None:
    table = draw_table(3)
    first, second = bootstrap_crossed(table), bootstrap_crossed(table)
    assert first == second
    assert first.estimate == pytest.approx(table.mean())
    assert first.low < first.estimate < first.high
    assert (first.rows, first.clusters) == (240, 6)


def test_one_seed_proves_nothing() -> None:
    interval = bootstrap_crossed([[1.0, 2.0, 3.0]])
    assert interval.estimate == 2.0 and np.isnan(interval.low) and not interval.excludes(100.0)


@pytest.mark.parametrize("values", [[1.0, 2.0], [[]], [[1.0, float("nan")]]])
def test_other_shapes_and_missing_numbers_are_refused(values: list) -> None:
    with pytest.raises(DataError, match="by seed and prompt"):
        bootstrap_crossed(values)
