import math

import pytest
from published_figures.oracle import Check


def check(computed: dict[str, float], allowed: float = 0.1) -> Check:
    return Check("made", "win_rate (%)", {"a": 1.0, "b": 2.0}, computed, allowed)


def test_the_farthest_figure_is_named_and_decides():
    comparison = check({"a": 1.05, "b": 2.2})
    assert (comparison.worst, comparison.is_ok) == ("b", False)
    assert comparison.deviation == pytest.approx(0.2)
    assert check({"a": 1.05, "b": 2.0}).is_ok


@pytest.mark.parametrize("computed", [{"a": 1.0}, {"a": 1.0, "b": math.nan}, {"a": 1.0, "b": 2.0, "c": 3.0}])
def test_a_figure_that_one_side_lacks_is_never_counted_as_agreeing(computed):
    assert check(computed).deviation == math.inf
    assert not check(computed).is_ok
    assert check(computed).record["deviation"] is None


def test_nothing_to_compare_is_no_agreement():
    assert not Check("made", "win_rate (%)", {}, {}, 0.1).is_ok
