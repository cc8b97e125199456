import math

import pytest

from prefboost.evaluation.oracle import Check


def check(ours: dict[str, float], allowed: float = 0.1) -> Check:
    return Check("made", "win_rate (%)", {"a": 1.0, "b": 2.0}, ours, allowed)


def test_the_farthest_figure_is_named_and_decides():
    found = check({"a": 1.05, "b": 2.2})
    assert (found.worst, found.is_ok) == ("b", False)
    assert found.deviation == pytest.approx(0.2)
    assert check({"a": 1.05, "b": 2.0}).is_ok


@pytest.mark.parametrize("ours", [{"a": 1.0}, {"a": 1.0, "b": math.nan}, {"a": 1.0, "b": 2.0, "c": 3.0}])
def test_a_figure_that_one_side_lacks_is_never_counted_as_agreeing(ours):
    assert check(ours).deviation == math.inf
    assert not check(ours).is_ok
    assert check(ours).record["deviation"] is None


def test_nothing_to_compare_is_no_agreement():
    assert not Check("made", "win_rate (%)", {}, {}, 0.1).is_ok
