from __future__ import annotations

import pytest

from prefboost.reporting.figures import Bar, Curve, Point, bars, coverage, goal_response

pytest.importorskip("matplotlib")
CURVE = Curve("a <b> & c", (Point(1, 2, 1.5, 2.5), Point(10, 7, 6, 8)))


def test_the_same_numbers_draw_the_same_figure() -> None:
    assert goal_response([CURVE], start=4.0) == goal_response([CURVE], start=4.0)
    assert goal_response([CURVE]) != goal_response([Curve("a <b> & c", (Point(1, 3, 1.5, 3.5), CURVE.points[1]))])


def test_a_figure_is_one_svg_element_without_links_to_files() -> None:
    for svg in (goal_response([CURVE]), bars([Bar("x", -1, -2, 0.5)], label="nats")):
        assert svg.startswith("<svg") and svg.rstrip().endswith("</svg>")
        assert "<script" not in svg and "file:" not in svg


def test_an_interval_that_does_not_hold_its_mean_is_drawn_all_the_same() -> None:
    assert goal_response([Curve("odd", (Point(1, 2, 3, 4),))])


def test_coverage_draws_every_group_and_kind() -> None:
    groups = {"raw": [Bar("theirs", 70, 65, 75), Bar("ours", 95, 93, 97)], "controlled": [Bar("ours", 94, 92, 96)]}
    one = coverage(groups, good=(93, 97), nominal=95)
    assert one == coverage(groups, good=(93, 97), nominal=95)
    assert one != coverage({"raw": groups["raw"]}, good=(93, 97), nominal=95)
