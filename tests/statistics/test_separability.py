import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.errors import DataError
from prefboost.statistics import Interval, measure_separability

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
