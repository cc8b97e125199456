"""Intervals over seeds and prompts cover the truth where both vary, and are wider than those over prompts alone."""

from __future__ import annotations

import numpy as np
import pytest

from prefboost.errors import DataError
from prefboost.statistics.bootstrap import Bootstrap, bootstrap_mean
from prefboost.statistics.crossed import bootstrap_crossed


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
