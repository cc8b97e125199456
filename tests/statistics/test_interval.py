from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.errors import DataError
from prefboost.statistics import Interval, measure_separability

NAN = float("nan")


def test_an_interval_excludes_what_lies_outside_its_ends():
    result = Interval(1.0, 0.5, 1.5, 0.95, rows=10, clusters=5)
    assert result.excludes(0.0) and result.excludes(1.6)
    assert not result.excludes(0.5) and not result.excludes(1.0)


def test_an_interval_with_unknown_ends_excludes_nothing_and_says_so():
    result = Interval(1.0, NAN, NAN, 0.95, rows=3, clusters=1)
    assert not result.excludes(0.0)
    assert str(result) == "1.00 [unknown] (n=3, 1 clusters)"


def test_scaling_changes_the_unit_and_nothing_else():
    share = Interval(0.25, 0.125, 0.5, 0.95, rows=8, clusters=4)
    assert share.scale(100) == Interval(25.0, 12.5, 50.0, 0.95, rows=8, clusters=4)


def test_an_estimate_without_ends_is_written_without_them():
    alone = Interval.without_ends(-1.5, level=0.95, rows=8, clusters=4)
    assert alone.format(1, signed=True) == "-1.5" and not alone.excludes(0)


def test_signs_and_fewer_digits_of_the_ends_are_written_on_request():
    difference = Interval(1.234, -0.5, 3.0, 0.95, rows=8, clusters=4)
    assert difference.format(end_decimals=1, signed=True) == "+1.23 [-0.5, +3.0]"


def test_percentiles_of_replicates_leave_out_those_that_say_nothing():
    replicates = np.append(np.linspace(0.0, 1.0, 101), np.nan)
    result = Interval.from_percentiles(0.5, replicates, level=0.5, rows=8, clusters=4)
    assert (result.low, result.high) == (0.25, 0.75)


intervals = st.dictionaries(
    st.text(max_size=3),
    st.tuples(st.floats(0, 100), st.floats(0, 100)).map(
        lambda ends: Interval(sum(ends) / 2, min(ends), max(ends), 0.95, 10, 10)
    ),
    min_size=2,
    max_size=8,
)


@given(intervals)
def test_separability_is_the_share_of_pairs_of_the_overlap_matrix_that_is_off(intervals_by_model):
    low, high = (np.array([getattr(each, end) for each in intervals_by_model.values()]) for end in ("low", "high"))
    overlap = (low[:, None] <= high) & (low <= high[:, None])
    count = len(low)
    assert measure_separability(intervals_by_model) == pytest.approx((~overlap).sum() / (count * (count - 1)))


def test_unknown_ends_tell_nothing_apart_and_one_model_is_refused():
    alone = Interval(1.0, float("nan"), float("nan"), 0.95, 1, 1)
    assert measure_separability({"a": alone, "b": Interval(9.0, 8.0, 10.0, 0.95, 9, 9)}) == 0
    with pytest.raises(DataError, match="1 models"):
        measure_separability({"a": alone})
