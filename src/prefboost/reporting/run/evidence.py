"""Figures of diagnoses, from their JSON forms: goal response, unlearning by score."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prefboost.reporting.intervals import read_interval
from prefboost.reporting.plots import Axes, IntervalPoint, plot_interval_rows, plot_intervals
from prefboost.reporting.sections import ReportColumn, ReportTable, Section
from prefboost.statistics import Interval

__all__ = ["build_goal_response_section", "build_unlearning_section", "label_bucket", "state_diagnoses"]

Record = Mapping[str, Any]

_MEASURES = {
    "slope": "points per point asked for",
    "slope_at_equal_length": "the same at equal length",
    "length_share": "share of the slope that goes with length",
    "spearman": "rank correlation",
    "calibration_error": "calibration error, points",
}


def state_diagnoses(diagnoses: Mapping[str, Record]) -> Iterator[str]:
    """State the outcome of every diagnosis in a sentence.

    Args:
        diagnoses: name of a file -> its record, which names its diagnosis.
    """
    for name, record in diagnoses.items():
        if record["diagnosis"] == "controllability":
            slope = _read(record["slope"])
            follows = "follows the goal" if slope.low > 0 else "does not visibly follow the goal"
            yield f"{name}: the policy {follows}: {slope.format(signed=True)} points per point asked for."
        elif record["diagnosis"] == "unlearning":
            for model in record["models"]:
                rejected = [bucket for bucket in model["buckets"] if bucket["side"] != "chosen"]
                if rejected:
                    best = rejected[-1]
                    change = _read(best["change"])
                    yield (
                        f"{name}: {model['model']} changed the log-prob of the best scored {best['side']} completions "
                        f"by {change.format(signed=True)} nats."
                    )
                if model["displaced"]:
                    yield (
                        f"{name}: {model['model']} displaces likelihood: its margin grows while chosen completions "
                        "become less likely."
                    )


def build_goal_response_section(diagnoses: Mapping[str, Record]) -> Section | None:
    """Build achieved against requested score, of all records of controllability; None without any."""
    records = {name: each for name, each in diagnoses.items() if each["diagnosis"] == "controllability"}
    if not records:
        return None
    points = [
        IntervalPoint(name, float(goal["goal"]), _read(goal["achieved"]))
        for name, record in records.items()
        for goal in record["goals"]
    ]
    rows = tuple(
        (name, f"{goal['goal']:g}", _read(goal["achieved"]).format(), _read(goal["words"]).format(0, end_decimals=0),
         "yes" if goal["extrapolated"] else "")
        for name, record in records.items()
        for goal in record["goals"]
    )  # fmt: skip
    columns = (ReportColumn("policy"), ReportColumn("asked for", True), ReportColumn("achieved", True),
               ReportColumn("words", True), ReportColumn("above the data"))  # fmt: skip
    measures = tuple(
        (name, *("–" if (value := read_interval(record.get(key))) is None else value.format() for key in _MEASURES))
        for name, record in records.items()
    )
    names = (ReportColumn("policy"), *(ReportColumn(text, True) for text in _MEASURES.values()))
    plot = plot_intervals("goal-response", "Achieved against requested score", points,
                          Axes("score asked for", "score achieved"), joined=True, diagonal=True)  # fmt: skip
    note = "The broad line is perfect control: achieved equals asked for. Intervals: 95 %, over prompts."
    return Section(
        "Goal response", (note,), plots=(plot,), tables=(ReportTable(columns, rows), ReportTable(names, measures))
    )


def build_unlearning_section(diagnoses: Mapping[str, Record]) -> Section | None:
    """Build the change of log-probs by side and score, of all records of unlearning; None without any."""
    models = [
        (model, model["model"])
        for record in diagnoses.values()
        if record["diagnosis"] == "unlearning"
        for model in record["models"]
    ]
    if not models:
        return None
    points, rows = [], []
    for model, name in models:
        for bucket in model["buckets"]:
            label, change = label_bucket(bucket), _read(bucket["change"])
            points.append(IntervalPoint(name, label, change))
            rows.append((name, label, change.format(signed=True), _read(bucket["per_token"]).format(3, signed=True),
                         f"{100 * bucket['less_likely']:.0f}", f"{change.rows:,}"))  # fmt: skip
    numbers = ("nats per completion", "nats per token", "less likely, %", "number")
    columns = (ReportColumn("policy"), ReportColumn("completions"), *(ReportColumn(name, True) for name in numbers))
    plot = plot_interval_rows("unlearning", "Change of the log-prob by score", points, "nats per completion")
    note = "Against the start model, under the prompts that the policy was trained on. Intervals: 95 %, over prompts."
    return Section("Unlearning by score", (note,), plots=(plot,), tables=(ReportTable(columns, tuple(rows)),))


def label_bucket(bucket: Record) -> str:
    """Name side and bucket of scores.

    >>> label_bucket({"side": "rejected", "low": 4, "high": None})
    'rejected, 4 ≤ score'
    """
    low = "" if bucket["low"] is None else f"{bucket['low']:g} ≤ "
    high = "" if bucket["high"] is None else f" < {bucket['high']:g}"
    return f"{bucket['side']}, {low}score{high}" if low or high else f"{bucket['side']}, all scores"


def _read(record: Any) -> Interval:
    value = read_interval(record)
    # Reports of diagnoses always hold an estimate where they hold the key.
    assert value is not None
    return value
