"""Specifications hold the values they were given, without NaN, and no figure grows with its log."""

from __future__ import annotations

import json

import pytest

from prefboost.reporting.plots import (
    Axes,
    IntervalPoint,
    plot_curves,
    plot_histogram,
    plot_interval_rows,
    plot_intervals,
    thin_curve,
)
from prefboost.statistics import Interval

AXES = Axes("step", "loss")
VALUE = Interval(5.0, 4.0, 6.5, 0.95, 20, 10)


def test_curves_keep_their_points_and_leave_a_gap_where_a_value_is_not_finite() -> None:
    plot = plot_curves("loss", "Loss", {"a": [(1, 2.0), (2, float("inf"))], "b": [(1, 3.0)]}, AXES)
    rows = [(row["series"], row["x"], row["y"]) for row in plot.spec["data"]["values"]]
    assert rows == [("a", 1, 2.0), ("a", 2, None), ("b", 1, 3.0)]
    assert plot.spec["encoding"]["color"]["legend"] == {"title": None}
    assert plot.caption == ""
    json.dumps(plot.spec, allow_nan=False)


def test_a_long_curve_is_averaged_to_a_stated_number_of_points() -> None:
    plot = plot_curves("loss", "Loss", {"a": [(step, float(step)) for step in range(10_000)]}, AXES)
    values = plot.spec["data"]["values"]
    assert len(values) == 500 and values[0]["y"] == pytest.approx(9.5)
    assert "at most 500" in plot.caption
    assert thin_curve([(1, 1.0)]) == [(1, 1.0)]


def test_whole_steps_have_no_ticks_between_them() -> None:
    curves = {"a": [(1, 2.0)]}
    assert plot_curves("a", "", curves, Axes("step", "y", whole=True)).spec["encoding"]["x"]["axis"]["tickMinStep"] == 1
    assert "axis" not in plot_curves("a", "", curves, AXES).spec["encoding"]["x"]


def test_intervals_are_drawn_in_both_directions_and_unknown_ends_are_the_value() -> None:
    unknown = Interval.without_ends(2.0, level=0.95, rows=1, clusters=1)
    plot = plot_intervals("f", "", [IntervalPoint("a", 5.0, unknown, VALUE), IntervalPoint("a", 1.0, VALUE)], AXES)
    first, second = plot.spec["data"]["values"]
    assert (first["low"], first["high"], first["left"], first["right"]) == (2.0, 2.0, 4.0, 6.5)
    assert "left" not in second and second["text"] == "5.00 [4.00, 6.50]"
    assert len(plot.spec["layer"]) == 3, "intervals of y, of x, and points"
    json.dumps(plot.spec, allow_nan=False)


def test_names_of_rows_are_broken_into_lines_that_the_figure_has_room_for() -> None:
    name = 'at the published beta 0.01 ra beats dpo with as many steps, and a good deal more than that "quoted"'
    plot = plot_interval_rows("rows", "Rows", [IntervalPoint("a", name, VALUE), IntervalPoint("a", "b", VALUE)], "x")
    labels = json.loads(plot.spec["layer"][-1]["encoding"]["y"]["axis"]["labelExpr"].removesuffix("[datum.value]"))
    assert len(labels[name]) == 3 and max(map(len, labels[name])) <= 28 and labels["b"] == ["b"]
    assert plot.spec["height"] == 40 + 2 * 50


def test_a_diagonal_and_joining_lines_are_drawn_where_asked_for() -> None:
    points = [IntervalPoint("a", 10.0, VALUE), IntervalPoint("a", 1.0, VALUE)]
    layer = plot_intervals("f", "", points, AXES, joined=True, diagonal=True).spec["layer"]
    assert layer[0]["data"]["values"] == [{"x": 1.0, "y": 1.0}, {"x": 10.0, "y": 10.0}]
    assert layer[1]["encoding"]["order"] == {"field": "order"}


def test_rows_of_several_series_lie_below_each_other() -> None:
    single = [IntervalPoint("a", "low", VALUE), IntervalPoint("a", "high", VALUE)]
    plot = plot_interval_rows("f", "", single, "nats")
    assert "yOffset" not in plot.spec["layer"][1]["encoding"]
    both = plot_interval_rows("f", "", [*single, IntervalPoint("b", "low", VALUE)], "nats")
    assert both.spec["layer"][1]["encoding"]["yOffset"]["sort"] == ["a", "b"]
    assert both.spec["height"] > plot.spec["height"]
    assert len(plot_interval_rows("f", "", single, "nats", zero=None).spec["layer"]) == 2


def test_bars_keep_the_order_of_their_bins() -> None:
    plot = plot_histogram("h", "", {"before": {"b": 1.0, "a": 2.0}, "after": {"b": 3.0, "a": 4.0}}, AXES)
    assert plot.spec["encoding"]["x"]["sort"] == ["b", "a"]
    assert [row["y"] for row in plot.spec["data"]["values"]] == [1.0, 2.0, 3.0, 4.0]
