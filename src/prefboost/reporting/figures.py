"""Figures as SVG text, drawn with matplotlib (its one home)."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prefboost.errors import require_extra
from prefboost.statistics import Interval

__all__ = ["Curve", "plot_coverage", "plot_goal_response"]

_INK, _GRID, _FAINT = "#1f2933", "#e4e7eb", "#7b8794"
_COLOURS = ("#0b7285", "#d9480f", "#868e96", "#5f3dc4")
_MARKERS = ("o", "s", "^", "D")


@dataclass(frozen=True)
class Curve:
    """A named series of means, e.g. one policy asked for several goals.

    Args:
        name: in the legend.
        points: place on the x axis -> mean with its interval, from left to right.
    """

    name: str
    points: Mapping[float, Interval]


def _pyplot() -> Any:
    with require_extra("matplotlib", "demo"):
        import matplotlib
    # No display is needed, and the same figure is the same text: ids have a fixed salt, letters are paths.
    matplotlib.use("svg")
    matplotlib.rcParams.update(
        {
            "svg.hashsalt": "prefboost",
            "svg.fonttype": "path",
            "font.size": 11,
            "axes.edgecolor": _FAINT,
            "axes.labelcolor": _INK,
            "text.color": _INK,
            "xtick.color": _INK,
            "ytick.color": _INK,
        }
    )
    from matplotlib import pyplot

    return pyplot


def _as_svg(figure: Any, pyplot: Any) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", bbox_inches="tight", metadata={"Date": None})
    pyplot.close(figure)
    svg = text.getvalue()
    # An XML declaration may not stand inside of a page.
    return svg[svg.index("<svg") :]


def plot_goal_response(
    curves: Sequence[Curve], *, low: float = 1.0, high: float = 10.0, start: float | None = None
) -> str:
    """Plot the achieved score over the requested goal, one line per policy, with 95 % intervals as bars.

    Args:
        curves: one per policy.
        low: lower end of the score scale.
        high: upper end of the score scale.
        start: mean score of the start model, drawn as a dotted line.

    Returns:
        SVG text.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    pyplot = _pyplot()
    figure, axes = pyplot.subplots(figsize=(6.4, 4.2))
    axes.plot([low, high], [low, high], color=_GRID, linewidth=6, solid_capstyle="round", zorder=0)
    axes.annotate("achieved = asked for", (high, high), xytext=(-6, -16), textcoords="offset points",
                  ha="right", color=_FAINT, fontsize=9)  # fmt: skip
    if start is not None:
        axes.axhline(start, color=_FAINT, linewidth=1, linestyle=":", label="start model")
    for position, curve in enumerate(curves):
        shift = (position - (len(curves) - 1) / 2) * 0.12
        axes.errorbar(
            [x + shift for x in curve.points],
            [mean.estimate for mean in curve.points.values()],
            yerr=_error_bars(curve.points.values()),
            color=_COLOURS[position % len(_COLOURS)],
            marker=_MARKERS[position % len(_MARKERS)],
            markersize=6,
            linewidth=2,
            elinewidth=1.2,
            capsize=3,
            label=curve.name,
        )
    axes.set_xlabel("score asked for")
    axes.set_ylabel("score achieved on held-out prompts")
    axes.set_xlim(low - 0.5, high + 0.5)
    axes.set_ylim(low - 0.3, high + 0.3)
    axes.grid(color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    # Below the axes: a policy that ignores its goal fills any corner of the plot.
    axes.legend(frameon=False, loc="upper center", ncols=2, bbox_to_anchor=(0.5, -0.14), fontsize=9)
    return _as_svg(figure, pyplot)


def _error_bars(values: Iterable[Interval]) -> list[list[float]]:
    """Compute the lengths of the bars below and above each value."""
    # An interval may lie wholly on one side of its estimate.
    ends = [(max(0.0, value.estimate - value.low), max(0.0, value.high - value.estimate)) for value in values]
    return [[below for below, _ in ends], [above for _, above in ends]]


def plot_coverage(groups: Mapping[str, Mapping[str, Interval]], *, good: tuple[float, float], nominal: float) -> str:
    """Plot how often intervals hold the truth: a dot with its interval for every kind, group below group.

    Args:
        groups: title -> name -> value in percent, from top to bottom; the last of each is drawn in the first colour.
        good: the band that is shaded, percent.
        nominal: what intervals promise, drawn as a line; percent.

    Returns:
        SVG text.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    pyplot = _pyplot()
    rows = sum(len(its) + 1 for its in groups.values())
    figure, axes = pyplot.subplots(figsize=(6.8, 0.5 + 0.29 * rows))
    axes.axvspan(*good, color=_GRID, zorder=0)
    axes.axvline(nominal, color=_FAINT, linewidth=1)
    places, labels, at = [], [], 0.0
    for title, its in groups.items():
        axes.annotate(title, (0, at), xycoords=("axes fraction", "data"), xytext=(-8, 0), textcoords="offset points",
                      ha="right", va="center", weight="bold", fontsize=10)  # fmt: skip
        for row, (name, value) in enumerate(its.items(), 1):
            at -= 1
            last = row == len(its)
            axes.errorbar(
                value.estimate, at, xerr=_error_bars([value]),
                color=_COLOURS[0 if last else 1], marker=_MARKERS[0 if last else 1], markersize=6,
                elinewidth=1.2, capsize=3,
            )  # fmt: skip
            axes.annotate(f"{value.estimate:.0f} %", (value.high, at), xytext=(7, 0), textcoords="offset points",
                          va="center", fontsize=9, color=_FAINT)  # fmt: skip
            places.append(at)
            labels.append(name)
        at -= 1.1
    axes.set_yticks(places, labels)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(f"intervals that hold the truth, % (shaded: {good[0]:g} to {good[1]:g})")
    axes.set_xlim(right=103)
    axes.set_ylim(at + 0.4, 0.7)
    axes.grid(axis="x", color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    return _as_svg(figure, pyplot)
