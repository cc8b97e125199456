import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.reporting.charts import COLOURED, choose_ticks, place_lines, place_strip
from prefboost.reporting.figures import Curve
from prefboost.reporting.sections import Lines, Mark, Strip
from prefboost.statistics import Interval

numbers = st.floats(-1e6, 1e6)


@given(st.lists(numbers, min_size=1, max_size=9))
def test_ticks_hold_all_values_and_rise(values):
    ticks = choose_ticks(values)
    slack = 1e-6 * max(1.0, *map(abs, values))
    assert ticks[0] <= min(values) + slack and max(values) <= ticks[-1] + slack
    assert 2 <= len(ticks) <= 9
    assert list(ticks) == sorted(set(ticks))


@given(st.lists(st.tuples(numbers, numbers, numbers).map(sorted), min_size=1, max_size=5))
def test_marks_keep_their_order_and_stay_on_the_strip(rows):
    strip = Strip("s", tuple((Mark(low, high, at),) for low, at, high in rows), ("k",), 0.0)
    for (mark,) in place_strip(strip).rows:
        assert 0 <= mark.low <= mark.at <= mark.high <= 100


def test_an_unknown_end_is_drawn_as_a_dot_and_a_withheld_value_as_its_bounds():
    strip = Strip("s", ((Mark(math.nan, math.nan, 5.0),), (Mark(2.0, 8.0, None),)), ("k",))
    (alone,), (bounds,) = place_strip(strip).rows
    assert alone.low == alone.at == alone.high
    assert bounds.at is None and bounds.low < bounds.high


def curve(name: str, *places: float) -> Curve:
    return Curve(name, {x: Interval(10 * x, 10 * x - 1, 10 * x + 1, 0.95, rows=1, clusters=1) for x in places})


def test_a_line_breaks_where_a_tick_has_no_point():
    ticks = tuple((float(x), str(x)) for x in range(4))
    found = place_lines(Lines("x", "y", (curve("whole", 0, 1, 2), curve("gap", 0, 1, 3)), ticks)).curves
    assert [one.path.count("M") for one in found if one.name == "whole"] == [1]
    assert [one.path.count("M") for one in found if one.name == "gap"] == [2]


def test_higher_values_stand_higher_and_all_within_the_box():
    found = place_lines(Lines("x", "y", (curve("c", 0, 1, 2),), ((0.0, "0"),), 5.0))
    ys = [y for _, y, *_ in found.curves[0].points]
    assert ys == sorted(ys, reverse=True)
    assert all(found.box[1] <= y <= found.box[3] for y in ys)


def test_curves_beyond_the_legend_are_faint():
    many = tuple(curve(f"m{at}", 0, 1) for at in range(COLOURED + 2))
    found = place_lines(Lines("x", "y", many, ((0.0, "0"), (1.0, "1"))))
    assert [one.colour for one in reversed(found.curves)] == [*range(COLOURED), None, None]


def test_no_points_still_make_a_box():
    assert place_lines(Lines("x", "y", (Curve("c", {}),), ())).y_ticks[0][0] == pytest.approx(256)
