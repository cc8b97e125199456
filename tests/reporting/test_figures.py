from __future__ import annotations

import pytest

from prefboost.reporting.figures import (
    Curve,
    plot_coverage,
    plot_goal_response,
)
from prefboost.statistics import Interval

pytest.importorskip("matplotlib")


def interval(estimate: float, low: float, high: float) -> Interval:
    return Interval(estimate, low, high, 0.95, rows=8, clusters=4)


CURVE = Curve("a <b> & c", {1: interval(2, 1.5, 2.5), 10: interval(7, 6, 8)})


def test_the_same_numbers_draw_the_same_figure() -> None:
    assert plot_goal_response([CURVE], start=4.0) == plot_goal_response([CURVE], start=4.0)
    higher = Curve("a <b> & c", {**CURVE.points, 1: interval(3, 1.5, 3.5)})
    assert plot_goal_response([CURVE]) != plot_goal_response([higher])


def test_a_figure_is_one_svg_element_without_links_to_files() -> None:
    for svg in (
        plot_goal_response([CURVE]),
        plot_coverage({"a": {"b": interval(95, 93, 97)}}, good=(93, 97), nominal=95),
    ):
        assert svg.startswith("<svg") and svg.rstrip().endswith("</svg>")
        assert "<script" not in svg and "file:" not in svg


def test_an_interval_that_does_not_hold_its_mean_is_drawn_all_the_same() -> None:
    assert plot_goal_response([Curve("odd", {1: interval(2, 3, 4)})])


def test_coverage_draws_every_group_and_kind() -> None:
    groups = {
        "raw": {"theirs": interval(70, 65, 75), "ours": interval(95, 93, 97)},
        "controlled": {"ours": interval(94, 92, 96)},
    }
    one = plot_coverage(groups, good=(93, 97), nominal=95)
    assert one == plot_coverage(groups, good=(93, 97), nominal=95)
    assert one != plot_coverage({"raw": groups["raw"]}, good=(93, 97), nominal=95)
