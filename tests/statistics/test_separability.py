import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.errors import DataError
from prefboost.statistics import Interval, confident_agreement, separability

intervals = st.dictionaries(
    st.text(max_size=3),
    st.tuples(st.floats(0, 100), st.floats(0, 100)).map(
        lambda ends: Interval(sum(ends) / 2, min(ends), max(ends), 0.95, 10, 10)
    ),
    min_size=2,
    max_size=8,
)


@given(intervals)
def test_separability_is_the_share_of_pairs_of_the_overlap_matrix_that_is_off(found):
    low, high = (np.array([getattr(one, end) for one in found.values()]) for end in ("low", "high"))
    overlap = (low[:, None] <= high) & (low <= high[:, None])
    count = len(low)
    assert separability(found) == pytest.approx((~overlap).sum() / (count * (count - 1)))


@given(intervals)
def test_a_benchmark_agrees_with_itself_on_what_it_tells_apart_and_with_its_reverse_on_nothing(found):
    assert confident_agreement(found, found) == pytest.approx(separability(found))
    turned = {
        name: Interval(-one.estimate, -one.high, -one.low, one.level, one.rows, one.clusters)
        for name, one in found.items()
    }
    assert confident_agreement(found, turned) == pytest.approx(-separability(found))


def test_unknown_ends_tell_nothing_apart_and_one_model_is_refused():
    alone = Interval(1.0, float("nan"), float("nan"), 0.95, 1, 1)
    assert separability({"a": alone, "b": Interval(9.0, 8.0, 10.0, 0.95, 9, 9)}) == 0
    with pytest.raises(DataError, match="1 models"):
        separability({"a": alone})
    with pytest.raises(DataError, match="0 models"):
        confident_agreement({"a": alone}, {"b": alone})
