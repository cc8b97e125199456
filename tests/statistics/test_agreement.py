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
    found = cohens_kappa(first, second)
    same = [cohens_kappa(second, first), cohens_kappa(first[::-1], second[::-1])]
    same.append(cohens_kappa([len(one) for one in first], [len(one) for one in second]))
    assert all(other == pytest.approx(found, nan_ok=True) for other in same)
    assert math.isnan(found) or found <= 1 + 1e-12


@given(st.lists(labels, min_size=2, max_size=40))
def test_kappa_of_a_judge_with_itself_is_one_unless_it_always_says_the_same(said: list[str]) -> None:
    found = cohens_kappa(said, said)
    assert math.isnan(found) if len(set(said)) == 1 else found == pytest.approx(1.0)


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
    both = [win for first in won for win in (first, 1 - first)]
    pairs = [at for at in range(len(won)) for _ in range(2)]
    found = measure_first_place_share(both, pairs=pairs, how=QUICK)
    assert found.estimate == pytest.approx(0.5)
    assert len(won) == 1 or (found.low == pytest.approx(0.5) and found.high == pytest.approx(0.5))


def test_a_judge_that_always_takes_the_first_has_a_share_of_one_and_an_interval_without_one_half() -> None:
    found = measure_first_place_share([1.0] * 20, pairs=list(range(10)) * 2, how=QUICK)
    assert found.estimate == 1.0 and found.excludes(0.5) and found.clusters == 10


def test_wins_beyond_one_are_refused() -> None:
    with pytest.raises(DataError, match="0 to 2"):
        measure_first_place_share([0, 2])


differences = st.lists(st.tuples(st.sampled_from([-1, 0, 1]), st.integers(-500, 500)), min_size=1, max_size=40)


@given(differences)
def test_length_bias_does_not_depend_on_which_side_is_named_first(rows: list[tuple[int, int]]) -> None:
    verdicts, lengths = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    one, other = (measure_length_bias(sign * verdicts, sign * lengths, how=QUICK) for sign in (1, -1))
    assert one.correlation == pytest.approx(other.correlation, nan_ok=True)
    assert one.per_deviation == pytest.approx(other.per_deviation, nan_ok=True)
    assert one.equally_long == other.equally_long
    assert (one.longer_wins is None) == (other.longer_wins is None)
    if one.longer_wins is not None and other.longer_wins is not None:
        assert one.longer_wins.estimate == pytest.approx(other.longer_wins.estimate)


def test_a_judge_of_length_alone_is_seen_as_one() -> None:
    lengths = np.array([5, -3, 8, -20, 0, 2])
    found = measure_length_bias(np.sign(lengths), lengths, how=QUICK)
    assert found.longer_wins is not None and found.longer_wins.estimate == 1.0 and found.equally_long == 1
    assert found.correlation == pytest.approx(np.corrcoef(np.sign(lengths), lengths)[0, 1])
    assert found.per_deviation == pytest.approx(np.polyfit(lengths / lengths.std(), np.sign(lengths), 1)[0])


def test_labels_that_do_not_match_are_refused() -> None:
    with pytest.raises(DataError, match="1 labels of one judge and 2"):
        cohens_kappa(["a"], ["a", "b"])
    with pytest.raises(DataError):
        measure_agreement([], [])


@given(pairs_of_labels)
def test_kappa_is_that_of_scikit_learn(rows: list[tuple[str, str]]) -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    first, second = zip(*rows, strict=True)
    found = cohens_kappa(first, second)
    if not math.isnan(found):
        assert found == pytest.approx(metrics.cohen_kappa_score(first, second), abs=1e-12)
