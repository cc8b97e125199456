"""Krippendorff's alpha against his own example, a package we did not write, and as properties."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.errors import DataError
from prefboost.statistics import cohens_kappa, krippendorff_alpha

_ = None
EXAMPLE = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, _, _, _],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, _, 3],
    [_, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, _],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, _],
]
tables = st.integers(2, 4).flatmap(
    lambda judges: st.integers(1, 12).flatmap(
        lambda items: st.lists(
            st.lists(st.sampled_from([None, 0, 1, 2, 5]), min_size=items, max_size=items),
            min_size=judges, max_size=judges,
        )
    )
)  # fmt: skip


@pytest.mark.parametrize(("level", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_the_example_of_the_textbook_comes_out(level, alpha):
    assert krippendorff_alpha(EXAMPLE, level=level) == pytest.approx(alpha, abs=5e-4)


@given(tables, st.sampled_from(["nominal", "ordinal", "interval"]))
def test_alpha_is_that_of_the_package_krippendorff(rows, level):
    package = pytest.importorskip("krippendorff", reason="the package krippendorff is not installed")
    data = np.array([[np.nan if value is None else value for value in row] for row in rows])
    try:
        expected = package.alpha(data, level_of_measurement=level)
    except ValueError:  # fewer than two values in the domain
        expected = math.nan
    except (ZeroDivisionError, AssertionError):
        expected = math.nan
    result = krippendorff_alpha(rows, level=level)
    if math.isnan(result):
        pairable = [item for item in zip(*rows, strict=True) if sum(value is not None for value in item) > 1]
        values = {value for item in pairable for value in item if value is not None}
        assert len(values) < 2
    else:
        assert result == pytest.approx(expected, abs=1e-9)


@given(tables, st.randoms())
def test_neither_the_order_of_judges_nor_that_of_items_matters(rows, chance):
    at = list(range(len(rows[0])))
    chance.shuffle(at)
    mixed = [[row[each] for each in at] for row in reversed(rows)]
    assert krippendorff_alpha(mixed) == pytest.approx(krippendorff_alpha(rows), nan_ok=True)


def test_many_items_of_two_judges_have_nearly_the_kappa_of_the_same_judges():
    rng = np.random.default_rng(0)
    first = rng.integers(3, size=5000)
    second = np.where(rng.random(5000) < 0.7, first, rng.integers(3, size=5000))
    assert krippendorff_alpha([first.tolist(), second.tolist()]) == pytest.approx(
        cohens_kappa(first.tolist(), second.tolist()), abs=2e-3
    )


def test_no_item_with_two_values_says_nothing_and_uneven_rows_are_refused():
    assert math.isnan(krippendorff_alpha([["a", None], [None, "b"]]))
    with pytest.raises(DataError, match=r"\[1, 2\] values"):
        krippendorff_alpha([["a"], ["a", "b"]])
