"""Rank correlation within groups: SciPy's where there is one group, a regression of residuals, and its interval."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.statistics import Bootstrap, bootstrap, bootstrap_mean
from prefboost.statistics.rank_correlation import rank_values
from prefboost.statistics.within_ranks import correlate_ranks_within

stats = pytest.importorskip("scipy.stats")

columns = st.lists(st.tuples(*[st.integers(-5, 5)] * 3), min_size=3, max_size=25)


@given(columns)
def test_of_one_group_it_is_spearmans_rho(rows: list[tuple[int, ...]]) -> None:
    a, b, _ = np.array(rows, dtype=float).T
    found = correlate_ranks_within(a, b, ["one"] * len(a))
    if len(set(a)) == 1 or len(set(b)) == 1:
        assert np.isnan(found.estimate)
        return
    assert found.estimate == pytest.approx(stats.spearmanr(a, b).statistic)
    assert found.by_group == {"one": pytest.approx(found.estimate)}


@given(columns)
def test_of_one_group_the_partial_one_is_that_of_the_three_correlations(rows: list[tuple[int, ...]]) -> None:
    a, b, c = np.array(rows, dtype=float).T
    found = correlate_ranks_within(a, b, ["one"] * len(a), control=c)
    if min(len(set(column)) for column in (a, b, c)) == 1:
        return
    ab, ac, bc = (stats.spearmanr(*pair).statistic for pair in ((a, b), (a, c), (b, c)))
    rest = (1 - ac**2) * (1 - bc**2)
    if rest < 1e-9:
        assert np.isnan(found.estimate)
    else:
        assert found.estimate == pytest.approx((ab - ac * bc) / np.sqrt(rest), abs=1e-6)


def build_groups(
    groups: int = 80, size: int = 4, length: float = 1.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Rewards and scores that both follow length, and each other by half; groups differ in level without meaning."""
    rng = np.random.default_rng(seed)
    names = np.repeat([f"p{at}" for at in range(groups)], size)
    level = np.repeat(rng.normal(scale=10, size=groups), size)
    lengths, quality, noise = rng.normal(size=(3, groups * size))
    reward, score = length * lengths + quality + noise, length * lengths + quality + rng.normal(size=groups * size)
    return reward + level, score - level, lengths, names


def test_many_groups_are_one_regression_on_ranks_within_them() -> None:
    reward, score, lengths, names = build_groups()
    parts = []
    for column in (reward, score, lengths):
        ranks = np.concatenate([rank_values(column[names == name]) for name in dict.fromkeys(names)])
        parts.append((ranks - 2.5) / 4)
    a, b, c = parts
    assert correlate_ranks_within(reward, score, names).estimate == pytest.approx(np.corrcoef(a, b)[0, 1])
    a, b = (column - c * np.linalg.lstsq(c[:, None], column, rcond=None)[0] for column in (a, b))
    partial = correlate_ranks_within(reward, score, names, control=lengths)
    assert partial.estimate == pytest.approx(np.corrcoef(a, b)[0, 1])
    assert np.mean(list(partial.by_group.values())) == pytest.approx(partial.estimate)


def test_a_common_cause_is_taken_out_and_differences_between_groups_count_nothing() -> None:
    rng = np.random.default_rng(1)
    _, _, lengths, names = build_groups(400)
    reward, score = (lengths + rng.normal(scale=0.5, size=len(names)) for _ in range(2))
    assert correlate_ranks_within(reward, score, names).estimate > 0.6
    # Ranks of four are coarse, so that a part of a common cause stays: the module says how much.
    assert abs(correlate_ranks_within(reward, score, names, control=lengths).estimate) < 0.2
    level = np.repeat(rng.normal(scale=100, size=400), 4)
    noise = rng.normal(size=(2, len(names)))
    assert abs(correlate_ranks_within(noise[0] + level, noise[1] + level, names).estimate) < 0.1


@pytest.mark.parametrize("partial", [False, True])
def test_the_interval_of_the_groups_values_is_that_of_resampled_groups(partial: bool) -> None:
    reward, score, lengths, names = build_groups(120)
    found = correlate_ranks_within(reward, score, names, control=lengths if partial else None)
    quick = bootstrap_mean(list(found.by_group.values()))

    def recompute(*columns: np.ndarray) -> float:
        # Resampled groups are new groups, or two copies of one would be ranked against each other.
        fresh = np.repeat(np.arange(len(columns[0]) // 4), 4)
        return correlate_ranks_within(*columns[:2], fresh, control=columns[2] if partial else None).estimate

    slow = bootstrap(recompute, reward, score, lengths, clusters=names, how=Bootstrap(resamples=400))
    assert quick.estimate == pytest.approx(slow.estimate)
    assert (quick.low, quick.high) == (pytest.approx(slow.low, abs=0.03), pytest.approx(slow.high, abs=0.03))


def test_single_rows_and_constant_columns_rank_nothing() -> None:
    found = correlate_ranks_within([1, 2, 3], [1, 2, 9], ["a", "a", "b"])
    assert (found.estimate, found.left_out, list(found.by_group)) == (1.0, 1, ["a"])
    assert np.isnan(correlate_ranks_within([1, 1, 1], [1, 2, 3], ["a"] * 3).estimate)
