"""Agreement and biases against closed forms, and as properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.errors import DataError
from prefboost.statistics.agreement import (
    cohens_kappa,
    measure_agreement,
    measure_first_place_share,
    measure_length_bias,
)
from prefboost.statistics.bootstrap import Bootstrap

QUICK = Bootstrap(resamples=100)
labels = st.sampled_from(["first", "second", "tie"])
pairs_of_labels = st.lists(st.tuples(labels, labels), min_size=1, max_size=40)


@given(pairs_of_labels)
def test_kappa_is_symmetric_and_ignores_names_and_order_of_rows(rows: list[tuple[str, str]]) -> None:
    first, second = zip(*rows, strict=True)
    result = cohens_kappa(first, second)
    same = [cohens_kappa(second, first), cohens_kappa(first[::-1], second[::-1])]
    same.append(cohens_kappa([len(each) for each in first], [len(each) for each in second]))
    assert all(right == pytest.approx(result, nan_ok=True) for right in same)
    assert math.isnan(result) or result <= 1 + 1e-12


@given(st.lists(labels, min_size=2, max_size=40))
def test_kappa_of_a_judge_with_itself_is_one_unless_it_always_says_the_same(labels: list[str]) -> None:
    result = cohens_kappa(labels, labels)
    assert math.isnan(result) if len(set(labels)) == 1 else result == pytest.approx(1.0)


def test_kappa_is_that_of_the_two_by_two_table_of_the_textbooks() -> None:
    """20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no: p_o = 0.7, p_e = 0.5."""
    first = ["yes"] * 25 + ["no"] * 25
    second = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    assert cohens_kappa(first, second) == pytest.approx(0.4)
    assert measure_agreement(first, second, how=QUICK).estimate == pytest.approx(0.7)


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
def test_kappa_of_two_labels_is_the_closed_form(a: int, b: int, c: int, d: int) -> None:
    """2 (ad - bc) / ((a + b)(b + d) + (a + c)(c + d)) for counts a, d of agreement and b, c of disagreement."""
    below = (a + b) * (b + d) + (a + c) * (c + d)
    if below == 0:
        return
    first = [1] * (a + b) + [0] * (c + d)
    second = [1] * a + [0] * b + [1] * c + [0] * d
    assert cohens_kappa(first, second) == pytest.approx(2 * (a * d - b * c) / below, abs=1e-12)


def test_independent_labels_have_a_kappa_near_zero() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.integers(3, size=(2, 20_000)).tolist()
    assert abs(cohens_kappa(first, second)) < 0.03


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=30))
def test_a_judge_that_order_does_not_sway_has_a_share_of_one_half(won: list[float]) -> None:
    both = [win for each in won for win in (each, 1 - each)]
    pairs = [at for at in range(len(won)) for _ in range(2)]
    result = measure_first_place_share(both, pairs=pairs, how=QUICK)
    assert result.estimate == pytest.approx(0.5)
    assert len(won) == 1 or (result.low == pytest.approx(0.5) and result.high == pytest.approx(0.5))


def test_a_judge_that_always_takes_the_first_has_a_share_of_one_and_an_interval_without_one_half() -> None:
    result = measure_first_place_share([1.0] * 20, pairs=list(range(10)) * 2, how=QUICK)
    assert result.estimate == 1.0 and result.excludes(0.5) and result.clusters == 10


def test_wins_beyond_one_are_refused() -> None:
    with pytest.raises(DataError, match="0 to 2"):
        measure_first_place_share([0, 2])


differences = st.lists(st.tuples(st.sampled_from([-1, 0, 1]), st.integers(-500, 500)), min_size=1, max_size=40)


@given(differences)
def test_length_bias_does_not_depend_on_which_side_is_named_first(rows: list[tuple[int, int]]) -> None:
    verdicts, lengths = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    left, right = (measure_length_bias(sign * verdicts, sign * lengths, how=QUICK) for sign in (1, -1))
    assert left.correlation == pytest.approx(right.correlation, nan_ok=True)
    assert left.per_deviation == pytest.approx(right.per_deviation, nan_ok=True)
    assert left.equally_long == right.equally_long
    assert (left.longer_wins is None) == (right.longer_wins is None)
    if left.longer_wins is not None and right.longer_wins is not None:
        assert left.longer_wins.estimate == pytest.approx(right.longer_wins.estimate)


def test_a_judge_of_length_alone_is_seen_as_one() -> None:
    lengths = np.array([5, -3, 8, -20, 0, 2])
    result = measure_length_bias(np.sign(lengths), lengths, how=QUICK)
    assert result.longer_wins is not None and result.longer_wins.estimate == 1.0 and result.equally_long == 1
    assert result.correlation == pytest.approx(np.corrcoef(np.sign(lengths), lengths)[0, 1])
    assert result.per_deviation == pytest.approx(np.polyfit(lengths / lengths.std(), np.sign(lengths), 1)[0])


def test_labels_that_do_not_match_are_refused() -> None:
    with pytest.raises(DataError, match="1 labels of one judge and 2"):
        cohens_kappa(["a"], ["a", "b"])
    with pytest.raises(DataError):
        measure_agreement([], [])


@given(pairs_of_labels)
def test_kappa_is_that_of_scikit_learn(rows: list[tuple[str, str]]) -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    first, second = zip(*rows, strict=True)
    result = cohens_kappa(first, second)
    if not math.isnan(result):
        assert result == pytest.approx(metrics.cohen_kappa_score(first, second), abs=1e-12)


def test_verdicts_coded_otherwise_are_refused():
    with pytest.raises(DataError, match=r"verdicts must be in -1\.\.1, found 1 to 2"):
        measure_length_bias([1, 2], [3, 4])
