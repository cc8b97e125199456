"""Results of a benchmark: figures with their intervals, what they rest on, and what is missing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from prefboost.errors import DataError
from prefboost.statistics import Interval
from prefboost.statistics.json_form import replace_nan

__all__ = ["RESULTS_SCHEMA", "Figure", "Mode", "Results"]

Mode = Literal["official", "robust"]
"""official: as upstream, quirks included; robust: both orders, prompts as clusters, the whole procedure resampled."""

RESULTS_SCHEMA = 1
"""Version of the JSON form; a reader refuses a newer one."""


@dataclass(frozen=True)
class Figure:
    """One number of one model.

    Args:
        name: name of the quantity, such as win_rate or lc_win_rate.
        model: name of the model.
        value: estimate and interval in the figure's unit; None where it is withheld or cannot be computed.
        missing: rows without a value.
        rows: all rows that should have a value.
        group: its category; empty for the whole benchmark.
        error: standard error of the value; None where only an interval is known.
        bounds: the value if every missing row was the worst, and if it was the best; None where there are none.
        unit: %, points, characters, ...
        note: remark that a reader needs.
    """

    name: str
    model: str
    value: Interval | None
    missing: int
    rows: int
    group: str = ""
    error: float | None = None
    bounds: tuple[float, float] | None = None
    unit: str = "%"
    note: str = ""

    @property
    def rank(self) -> float:
        """The estimate, by which models are listed; where it is withheld, the middle of its bounds, or 0."""
        if self.value is not None:
            return self.value.estimate
        return 0.0 if self.bounds is None else sum(self.bounds) / 2

    def __str__(self) -> str:
        """Format the number with its interval, or say why there is none.

        >>> str(Figure("win_rate", "m", None, 20, 100, bounds=(40.0, 60.0)))
        'withheld: 20 of 100 missing, between 40.00 and 60.00'
        """
        if self.value is not None:
            return self.value.format()
        between = "" if self.bounds is None else f", between {self.bounds[0]:.2f} and {self.bounds[1]:.2f}"
        return f"withheld: {self.missing} of {self.rows} missing{between}"


@dataclass(frozen=True)
class Results:
    """All figures of one benchmark.

    Args:
        benchmark: kind of the benchmark.
        mode: see `Mode`.
        figures: figures of all models, the headline of a model first.
        alarms: reasons to doubt the figures, such as one completion given to every prompt.
        facts: settings, judge and baseline behind the figures.
    """

    benchmark: str
    mode: Mode
    figures: tuple[Figure, ...]
    alarms: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def models(self) -> list[str]:
        """Names of the models, in the order of their first figures."""
        return list(dict.fromkeys(figure.model for figure in self.figures))

    def figure(self, name: str, model: str, group: str = "") -> Figure:
        """Return one figure.

        Raises:
            DataError: there is no such figure.
        """
        for figure in self.figures:
            if (figure.name, figure.model, figure.group) == (name, model, group):
                return figure
        names = ", ".join(dict.fromkeys(figure.name for figure in self.figures))
        raise DataError(f"there is no figure {name} of {model} {group}".rstrip(), remedy=f"there are: {names}")

    def record(self) -> dict[str, Any]:
        """Return the JSON form: NaN as null, with the version of the schema."""
        content = {
            "schema": RESULTS_SCHEMA, "benchmark": self.benchmark, "mode": self.mode,
            "figures": [asdict(figure) for figure in self.figures],
            "alarms": list(self.alarms), "facts": dict(self.facts),
        }  # fmt: skip
        plain: dict[str, Any] = replace_nan(content)
        return plain

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Results:
        """Read results from their JSON form.

        Raises:
            DataError: it is not such a form, or one of a newer version.
        """
        if record.get("schema") != RESULTS_SCHEMA:
            raise DataError(
                f"results have schema {record.get('schema')!r}, this version reads {RESULTS_SCHEMA}",
                remedy="read them with the version that wrote them, or score the stored verdicts again",
            )
        figures = []
        for figure in record["figures"]:
            value, bounds = figure["value"], figure["bounds"]
            if value is not None:
                fields: dict[str, Any] = {name: math.nan if part is None else part for name, part in value.items()}
                value = Interval(**fields)
            ends = None if bounds is None else (bounds[0], bounds[1])
            figures.append(Figure(**{**figure, "value": value, "bounds": ends}))
        return cls(record["benchmark"], record["mode"], tuple(figures), tuple(record["alarms"]), record["facts"])

    def markdown(self) -> str:
        """Format the figures as a table, one row per figure."""
        lines = ["| model | figure | group | value | n | missing |", "|---|---|---|---|---|---|"]
        for figure in self.figures:
            cells = [figure.model, f"{figure.name} ({figure.unit})", figure.group, str(figure)]
            counts = [str(figure.rows), str(figure.missing)]
            lines.append("| " + " | ".join(_escape_cell(cell) for cell in [*cells, *counts]) + " |")
        return "\n".join([*lines, *(f"\n**Alarm:** {_escape_cell(alarm)}" for alarm in self.alarms)]) + "\n"


def _escape_cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
