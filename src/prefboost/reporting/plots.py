"""Interactive figures of a page, as Vega-Lite specifications, which the page's script draws."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prefboost.statistics import Interval

__all__ = [
    "MOST_POINTS",
    "Axes",
    "IntervalPoint",
    "Plot",
    "plot_curves",
    "plot_histogram",
    "plot_interval_rows",
    "plot_intervals",
    "thin_curve",
]

MOST_POINTS = 500
"""Points of a curve; the lines of a long log are averaged to this many."""

_HEIGHT = 260

_LABEL = 28
"""Characters of a line of a row's name."""

_FEW = 20
"""Points of a curve below which each is drawn."""

Spec = dict[str, Any]


@dataclass(frozen=True)
class Plot:
    """A figure of a page.

    Args:
        name: file name of its exports; letters, digits and hyphens.
        title: heading.
        spec: Vega-Lite, without colours and fonts, which the page has.
        caption: what is drawn, and what its bars are.
        printed: whether it is printed too; a drawing in a table stands for it on paper otherwise.
    """

    name: str
    title: str
    spec: Mapping[str, Any]
    caption: str = ""
    printed: bool = True


@dataclass(frozen=True)
class Axes:
    """Titles of both axes, with units.

    Args:
        x, y: titles.
        zero: the y axis begins at 0.
        whole: the x axis has no ticks between whole numbers.
        ticks: places on the x axis with their labels; none: round numbers.
        reference: a value of y that is marked by a line.
    """

    x: str
    y: str
    zero: bool = False
    whole: bool = False
    ticks: tuple[tuple[float, str], ...] = ()
    reference: float | None = None


@dataclass(frozen=True)
class IntervalPoint:
    """A value with its interval.

    Args:
        series: in the legend.
        x: place on the x axis, or the name of a row.
        y: the value.
        x_interval: interval of the place, e.g. of a KL.
    """

    series: str
    x: float | str
    y: Interval
    x_interval: Interval | None = None


def plot_curves(
    name: str, title: str, curves: Mapping[str, Sequence[tuple[float, float]]], axes: Axes, most: int = MOST_POINTS
) -> Plot:
    """Plot curves over one x axis, e.g. the loss by optimiser step.

    Args:
        name: of the figure.
        title: heading.
        curves: series -> points (x, y); points that are not finite leave a gap.
        axes: titles.
        most: points of a curve; neighbouring ones of longer curves are averaged.
    """
    values, thinned = [], False
    for series, points in curves.items():
        drawn = thin_curve(points, most)
        thinned |= len(drawn) < len(points)
        values += [{"series": series, "x": x, "y": float(f"{y:.6g}") if math.isfinite(y) else None} for x, y in drawn]
    spec = _share_encoding(values, list(curves), axes)
    few = min(map(len, curves.values())) < _FEW
    spec["layer"] = [
        # A curve of one point has no line.
        {"mark": {"type": "line", "strokeWidth": 1.8, "strokeJoin": "round", "point": few and {"size": 22}}},
        # The nearest point answers, so that a thin line is easy to hit with a finger.
        {
            "mark": {"type": "point", "filled": True, "size": 55},
            "params": [{"name": "near", "select": {"type": "point", "nearest": True, "on": "pointerover",
                                                   "clear": "pointerout"}}],
            "encoding": {
                "opacity": {"condition": {"param": "near", "empty": False, "value": 1}, "value": 0},
                "tooltip": [_tip("series"), _tip("x", axes.x), {**_tip("y", axes.y), "format": ".5~g"}],
            },
        },
    ]  # fmt: skip
    caption = f"Each point is the mean of neighbouring steps; at most {most} per curve." if thinned else ""
    return Plot(name, title, spec, caption)


def plot_intervals(
    name: str, title: str, points: Sequence[IntervalPoint], axes: Axes, *, joined: bool = False, diagonal: bool = False
) -> Plot:
    """Plot values with intervals over a numeric x axis, e.g. a goal response or a frontier.

    Args:
        name: of the figure.
        title: heading.
        points: of all series, in the order in which they are joined.
        axes: titles.
        joined: a line joins the points of a series.
        diagonal: a band marks y = x.
    """
    values = [_record_point(point) for point in points]
    series = list(dict.fromkeys(point.series for point in points))
    spec = _share_encoding(values, series, axes)
    layer: list[Spec] = []
    if diagonal:
        ends = [float(point.x) for point in points]
        corners = [{"x": end, "y": end} for end in (min(ends), max(ends))]
        layer.append({"data": {"values": corners}, "mark": {"type": "line", "strokeWidth": 6, "opacity": 0.6},
                      "encoding": {"color": {"value": "var(--line)"}, "order": {"field": "x"}}})  # fmt: skip
    if axes.reference is not None:
        layer.append({"data": {"values": [{"y": axes.reference}]}, "mark": {"type": "rule", "strokeDash": [3, 3]},
                      "encoding": {"x": None, "color": {"value": "var(--faint)"}}})  # fmt: skip
    if joined:
        layer.append({"mark": {"type": "line", "strokeWidth": 1.6}, "encoding": {"order": {"field": "order"}}})
    layer.append({"mark": {"type": "rule", "strokeWidth": 1.4},
                  "encoding": {"y": {"field": "low", "title": axes.y}, "y2": {"field": "high"}}})  # fmt: skip
    if any(point.x_interval is not None for point in points):
        layer.append({"mark": {"type": "rule", "strokeWidth": 1.4},
                      "encoding": {"x": {"field": "left", "title": axes.x}, "x2": {"field": "right"}}})  # fmt: skip
    tips = [_tip("series"), _tip("at", axes.x), _tip("text", axes.y)]
    layer.append(
        {
            "mark": {"type": "point", "filled": True, "size": 75, "opacity": 1},
            "encoding": {"shape": {"field": "series", "sort": None, "legend": _legend(series)}, "tooltip": tips},
        }
    )
    spec["layer"] = layer
    return Plot(name, title, spec)


def plot_interval_rows(
    name: str,
    title: str,
    points: Sequence[IntervalPoint],
    value: str,
    *,
    zero: float | None = 0.0,
    counted: str = "completions",
) -> Plot:
    """Plot rows with a dot and an interval per series, e.g. the change of log-probs by bucket.

    Args:
        name: of the figure.
        title: heading.
        points: ``x`` is the name of the row; rows stand in the order of their first point. A value that is NaN is
            withheld, and lies somewhere in its interval.
        value: title of the axis, with its unit.
        zero: where a line is drawn; None: nowhere.
        counted: what the rows of an interval are; "": they are not shown.
    """
    values = [_record_point(point) for point in points]
    series = list(dict.fromkeys(point.series for point in points))
    names = list(dict.fromkeys(str(point.x) for point in points))
    # Vega breaks no lines. An expression is code: names enter it as JSON strings alone.
    labels = {name: textwrap.wrap(name, _LABEL, max_lines=3, placeholder=" …") for name in names}
    lifts = {name: -6.5 * (len(lines) - 1) for name, lines in labels.items()}
    # Of several lines Vega centres the first one: they are lifted by half of the others.
    conditions = [{"test": f"{json.dumps(lifts)}[datum.value] === {lift}", "value": lift}
                  for lift in sorted({*lifts.values()} - {0.0})]  # fmt: skip
    axis = {"labelLimit": 190, "grid": True, "labelExpr": f"{json.dumps(labels)}[datum.value]",
            "labelOffset": {"condition": conditions, "value": 0}}  # fmt: skip
    row = {"field": "x", "type": "nominal", "sort": None, "title": None, "axis": axis}
    rows: Spec = {"y": row, "color": _colour(series)}
    if len(series) > 1:
        rows["yOffset"] = {"field": "series", "sort": series}
    layer: list[Spec] = []
    if zero is not None:
        layer.append({"data": {"values": [{"zero": zero}]}, "mark": {"type": "rule", "strokeDash": [3, 3]},
                      "encoding": {"x": {"field": "zero", "type": "quantitative"},
                                   "color": {"value": "var(--faint)"}}})  # fmt: skip
    scale = {"zero": False, "nice": True}
    ends = {"x": {"field": "low", "type": "quantitative", "title": value, "scale": scale}, "x2": {"field": "high"}}
    # Without a value the interval is drawn broken.
    dashes = {"strokeDash": {"condition": {"test": "datum.y === null", "value": [3, 2]}, "value": [1, 0]}}
    layer.append({"mark": {"type": "rule", "strokeWidth": 2}, "encoding": {**rows, **ends, **dashes}})
    dots = {
        **rows,
        "x": {"field": "y", "type": "quantitative", "title": value, "scale": scale},
        "shape": {"field": "series", "sort": None, "legend": _legend(series)},
        "tooltip": [_tip("series"), _tip("x", "row"), _tip("text", value),
                    *([_tip("rows", counted)] if counted else [])],
    }  # fmt: skip
    layer.append({"mark": {"type": "point", "filled": True, "size": 75, "opacity": 1}, "encoding": dots})
    lane = max(22 * len(series), 14 * max(map(len, labels.values()), default=1) + 8)
    return Plot(name, title, {"data": {"values": values}, "width": "container", "height": 40 + lane * len(names),
                              "layer": layer})  # fmt: skip


def plot_histogram(name: str, title: str, bins: Mapping[str, Mapping[str, float]], axes: Axes) -> Plot:
    """Plot bars of several series side by side, e.g. the scores of winners before and after relabelling.

    Args:
        name: of the figure.
        title: heading.
        bins: series -> name of the bin -> height; all series have the same bins, in order.
        axes: titles.
    """
    series = list(bins)
    values = [
        {"series": each, "x": label, "y": height} for each, by_bin in bins.items() for label, height in by_bin.items()
    ]
    labels = list(next(iter(bins.values()), {}))
    encoding: Spec = {
        "x": {"field": "x", "type": "ordinal", "sort": labels, "title": axes.x,
              "axis": {"labelAngle": 0, "labelOverlap": True, "grid": False}},
        "y": {"field": "y", "type": "quantitative", "title": axes.y},
        "color": _colour(series),
        "tooltip": [_tip("series"), _tip("x", axes.x), {**_tip("y", axes.y), "format": ",.4~g"}],
    }  # fmt: skip
    if len(series) > 1:
        encoding["xOffset"] = {"field": "series", "sort": series}
    spec = {"data": {"values": values}, "width": "container", "height": 200,
            "mark": {"type": "bar", "cornerRadiusEnd": 2}, "encoding": encoding}  # fmt: skip
    return Plot(name, title, spec)


def thin_curve(points: Sequence[tuple[float, float]], most: int = MOST_POINTS) -> list[tuple[float, float]]:
    """Average neighbouring points of a curve until at most ``most`` are left.

    >>> thin_curve([(1, 2.0), (2, 4.0), (3, 6.0), (4, 8.0)], most=2)
    [(1.5, 3.0), (3.5, 7.0)]
    """
    if len(points) <= most:
        return list(points)
    size = math.ceil(len(points) / most)
    groups = [points[at : at + size] for at in range(0, len(points), size)]
    return [(sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups]


def _record_point(point: IntervalPoint) -> Spec:
    """Turn a point into a row of data; ends that are unknown are the value itself."""
    low, high = (end if math.isfinite(end) else point.y.estimate for end in (point.y.low, point.y.high))
    withheld = math.isnan(point.y.estimate)
    text = f"withheld, between {low:.4g} and {high:.4g}" if withheld else point.y.format()
    record: Spec = {"series": point.series, "x": point.x, "y": None if withheld else point.y.estimate, "low": low,
                    "high": high, "text": text, "at": point.x, "rows": point.y.rows}  # fmt: skip
    across = point.x_interval
    if across is not None:
        left, right = (end if math.isfinite(end) else across.estimate for end in (across.low, across.high))
        record |= {"left": left, "right": right, "at": across.format()}
    return record


def _share_encoding(values: Sequence[Spec], series: Sequence[str], axes: Axes) -> Spec:
    """Build the parts that layers over two numeric axes share."""
    numbered = [{**value, "order": order} for order, value in enumerate(values)]
    scale = {"zero": axes.zero, "nice": True}
    across: Spec = {
        "field": "x",
        "type": "quantitative",
        "title": axes.x,
        "scale": {"zero": False, "nice": False, "padding": 12},
    }  # rounded ends would show a KL below 0
    if axes.whole:
        across["axis"] = {"tickMinStep": 1, "format": "d"}
    if axes.ticks:
        # An expression is code: labels enter it as JSON strings alone.
        # The keys are numbers as JavaScript prints them.
        labels = json.dumps(
            {str(int(place)) if float(place).is_integer() else repr(float(place)): label for place, label in axes.ticks}
        )
        across["axis"] = {"values": [place for place, _ in axes.ticks], "labelExpr": f"{labels}[datum.value]"}
    return {
        "data": {"values": numbered},
        "width": "container",
        "height": _HEIGHT,
        "encoding": {
            "x": across,
            "y": {"field": "y", "type": "quantitative", "title": axes.y, "scale": scale},
            "color": _colour(series),
        },
    }


def _colour(series: Sequence[str]) -> Spec:
    return {"field": "series", "type": "nominal", "sort": None, "scale": {"domain": list(series)},
            "legend": _legend(series)}  # fmt: skip


def _legend(series: Sequence[str]) -> Spec | None:
    # A single series is named by title and axis.
    return {"title": None} if len(series) > 1 else None


def _tip(field: str, title: str = "") -> Spec:
    return {"field": field, "title": title or field}
