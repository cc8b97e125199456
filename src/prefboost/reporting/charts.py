"""Places of marks and curves of a report: geometry alone; templates draw it as inline SVG in the page's colours."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from prefboost.reporting.figures import Curve
from prefboost.reporting.sections import COLOURED, Lines, Strip

__all__ = [
    "DrawnCurve",
    "DrawnLines",
    "DrawnMark",
    "DrawnStrip",
    "choose_ticks",
    "place_lines",
    "place_strip",
]

_WIDE, _HIGH, _LEFT, _RIGHT, _TOP, _BOTTOM = 720.0, 300.0, 52.0, 16.0, 12.0, 44.0


@dataclass(frozen=True)
class DrawnMark:
    """A mark in percent of the strip's width; ``at`` is None for a span alone, ``row`` is -1, 0 or 1 of its lanes."""

    low: float
    high: float
    at: float | None
    kind: int
    lane: float


@dataclass(frozen=True)
class DrawnStrip:
    """A strip: ticks (place in percent, label), the reference's place, and marks of every row."""

    ticks: tuple[tuple[float, str], ...]
    reference: float | None
    rows: tuple[tuple[DrawnMark, ...], ...]


@dataclass(frozen=True)
class DrawnCurve:
    """A curve: its name, its path, and points as (x, y, low y, high y, what it says); colour None is faint."""

    name: str
    colour: int | None
    path: str
    points: tuple[tuple[float, float, float, float, str], ...]


@dataclass(frozen=True)
class DrawnLines:
    """A chart in a box of ``wide`` x ``high`` pixels that scales: ticks of both axes, the reference, curves."""

    wide: float
    high: float
    box: tuple[float, float, float, float]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    reference: float | None
    curves: tuple[DrawnCurve, ...]


def choose_ticks(values: Sequence[float], steps: int = 5) -> tuple[float, ...]:
    """Choose round ticks that hold all values.

    Args:
        values: finite values to hold; none gives 0 and 1.
        steps: about how many steps.

    >>> choose_ticks([43.2, 61.0])
    (40.0, 45.0, 50.0, 55.0, 60.0, 65.0)
    """
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    # Equal values have no span, and a logarithm of 0 no power of ten.
    span = max(high - low, 1e-6 * max(1.0, abs(low), abs(high)))
    power = 10.0 ** math.floor(math.log10(span / steps))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if span / (power * factor) <= steps + 0.5)
    # Quotients such as 0.3 / 0.1 are a little off a whole number.
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    last = max(last, first + 1)
    return tuple(round(at * step, 10) for at in range(first, last + 1))


def place_strip(strip: Strip) -> DrawnStrip:
    """Compute the places of marks in percent of the width, on one axis for all rows."""
    ends = [end for row in strip.marks for mark in row for end in (mark.low, mark.high, mark.value) if end is not None]
    ends += [] if strip.reference is None else [strip.reference]
    ticks = choose_ticks(ends, 4)
    low, high = ticks[0], ticks[-1]

    def place(value: float) -> float:
        return round(4 + 92 * (value - low) / (high - low), 2)

    def place_row(row: Sequence[tuple[float, float, float | None, int]]) -> tuple[DrawnMark, ...]:
        lanes = [(number - (len(row) - 1) / 2) for number in range(len(row))]
        return tuple(
            DrawnMark(
                place(low if math.isfinite(low) else value or 0.0),
                place(high if math.isfinite(high) else value or 0.0),
                None if value is None else place(value), kind, lane,
            )
            for (low, high, value, kind), lane in zip(row, lanes, strict=True)
        )  # fmt: skip

    return DrawnStrip(
        tuple((place(tick), f"{tick:g}") for tick in ticks),
        None if strip.reference is None else place(strip.reference),
        tuple(place_row([(mark.low, mark.high, mark.value, mark.kind) for mark in row]) for row in strip.marks),
    )


def place_lines(lines: Lines) -> DrawnLines:
    """Compute the places of curves in a box of 720 x 300 pixels."""
    means = [mean for curve in lines.curves for mean in curve.points.values()]
    ends = [end for mean in means for end in (mean.low, mean.high, mean.estimate)]
    y_ticks = choose_ticks([*ends, *([] if lines.reference is None else [lines.reference])])
    x_values = [x for x, _ in lines.ticks] + [x for curve in lines.curves for x in curve.points]
    left, right = (min(x_values), max(x_values)) if x_values else (0.0, 1.0)
    pad = 0.06 * ((right - left) or 1.0)

    def across(x: float) -> float:
        return round(_LEFT + (_WIDE - _LEFT - _RIGHT) * (x - left + pad) / (right - left + 2 * pad), 1)

    def down(y: float) -> float:
        return round(_TOP + (_HIGH - _TOP - _BOTTOM) * (y_ticks[-1] - y) / (y_ticks[-1] - y_ticks[0]), 1)

    drawn = []
    for number, curve in enumerate(lines.curves):
        colour = number if number < COLOURED else None
        # Curves that share goals would hide each other's bars; 4 pixels apart they are read side by side.
        shift = 0.0 if colour is None else (colour - (min(len(lines.curves), COLOURED) - 1) / 2) * 4.0
        gaps = [any(left < tick < right for tick, _ in lines.ticks) for left, right in pairwise(curve.points)]
        drawn.append(_curve(curve, colour, ([across(x) + shift for x in curve.points], [True, *gaps]), down))
    return DrawnLines(
        _WIDE, _HIGH, (_LEFT, _TOP, _WIDE - _RIGHT, _HIGH - _BOTTOM),
        tuple((across(x), label) for x, label in lines.ticks),
        tuple((down(y), f"{y:g}") for y in y_ticks),
        None if lines.reference is None else down(lines.reference),
        # The first curve is drawn last, above all others.
        tuple(reversed(drawn)),
    )  # fmt: skip


def _curve(
    curve: Curve, colour: int | None, across: tuple[Sequence[float], Sequence[bool]], down: Callable[[float], float]
) -> DrawnCurve:
    """Draw a curve; ``across`` has the places and, for each, whether a piece of the line begins there.

    The line has a gap where a tick has no point.
    """
    points = []
    for mean, x in zip(curve.points.values(), across[0], strict=True):
        low, high = (down(end if math.isfinite(end) else mean.estimate) for end in (mean.low, mean.high))
        points.append((round(x, 1), down(mean.estimate), low, high, f"{curve.name}: {mean.format(1)}"))
    path = " ".join(f"{'M' if begins else 'L'}{x} {y}" for (x, y, *_), begins in zip(points, across[1], strict=False))
    return DrawnCurve(curve.name, colour, path, tuple(points))
