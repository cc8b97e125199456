"""Figures of diagnoses, from their JSON forms: goal response, unlearning by score."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prefboost.reporting.plots import Axes, IntervalPoint, Plot, plot_interval_rows, plot_intervals
from prefboost.reporting.sections import ReportColumn, ReportTable, Section, number_columns
from prefboost.statistics import Interval
from prefboost.statistics.json_form import read_interval

__all__ = [
    "build_frontier_section",
    "build_goal_response_section",
    "build_unlearning_section",
    "label_bucket",
    "list_leads",
    "state_diagnoses",
]

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
            controls = {"the goal": record} if record["goals"] else {}
            controls |= {f"the goal of {aspect}": each for aspect, each in (record.get("vectors") or {}).items()}
            for goal, control in controls.items():
                # One goal has no slope, and neither have resamples of one prompt.
                if (slope := read_interval(control["slope"])) is not None:
                    follows = "follows" if slope.low > 0 else "does not visibly follow"
                    points = f"{slope.format(signed=True)} points per point asked for"
                    yield f"{name}: the policy {follows} {goal}: {points}."
            if (best := record.get("best_vector")) is not None:
                goals = ", ".join(f"{aspect} {goal:g}" for aspect, goal in best["goals"].items())
                gain = read_interval(best["gain"])
                against = "" if gain is None else f", {gain.format(signed=True)} against the highest of every aspect"
                yield (
                    f"{name}: the best goals by validation prompts and {best['score']} are {goals}; on the others they "
                    f"achieve {_read(best['achieved']).format()}{against}."
                )
        elif record["diagnosis"] == "frontier":
            yield from (
                f"{name}: {lead['arm']} less {lead['against']} at equal KL: "
                f"{_read(lead['average']).format(signed=True)}, {lead['verdict']}."
                for lead in record["leads"]
                if lead["average"] is not None
            )
        elif record["diagnosis"] == "unlearning":
            for model in record["models"]:
                rejected = [bucket for bucket in model["buckets"] if bucket["side"] != "chosen"]
                if rejected:
                    best = rejected[-1]
                    change = _read(best["change"])
                    unclear = "not shown to be more or less likely"
                    likely = "more likely" if change.low > 0 else "less likely" if change.high < 0 else unclear
                    side = "" if best["side"] == "completion" else f"{best['side']} "
                    yield (
                        f"{name}: {side}completions with the highest scores are {likely} under {model['model']}: "
                        f"{change.format(signed=True)} nats per completion."
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
    aspects = {
        f"{name}, {aspect}" if len(records) > 1 else aspect: control
        for name, record in records.items()
        for aspect, control in (record.get("vectors") or {}).items()
    }
    axes = Axes("score asked for", "score achieved")
    plots: list[Plot] = []
    tables: list[ReportTable] = []
    for name, title, heading, controls in (
        ("goal-response", "Achieved against requested score", "policy", records),
        ("goal-response-aspects", "The same by aspect", "aspect", aspects),
    ):
        responses = [(series, goal) for series, control in controls.items() for goal in control["goals"]]
        if not responses:
            continue
        points = [IntervalPoint(series, float(goal["goal"]), _read(goal["achieved"])) for series, goal in responses]
        plots.append(plot_intervals(name, title, points, axes, joined=True, diagonal=True))
        columns = (ReportColumn(heading), *number_columns("asked for", "achieved", "words"),
                   ReportColumn("above the data"))  # fmt: skip
        rows = ((series, f"{goal['goal']:g}", _read(goal["achieved"]).format(),
                 _read(goal["words"]).format(0, end_decimals=0), "yes" if goal["extrapolated"] else "")
                for series, goal in responses)  # fmt: skip
        summed = ((series, *("–" if (value := read_interval(control.get(key))) is None else value.format()
                             for key in _MEASURES))
                  for series, control in controls.items() if control["goals"])  # fmt: skip
        headings = (ReportColumn(heading), *number_columns(*_MEASURES.values()))
        tables += [ReportTable(columns, tuple(rows)), ReportTable(headings, tuple(summed))]
    effects = tuple(
        (aspect, other, effect.format(signed=True))
        for aspect, control in aspects.items()
        for other, record in control["crosstalk"].items()
        if (effect := read_interval(record)) is not None
    )
    if effects:
        columns = (ReportColumn("aspect"), ReportColumn("other aspect"), *number_columns("points per point asked for"))
        tables.append(ReportTable(columns, effects, caption="effect of asking for another aspect"))
    note = "The broad line is perfect control: achieved equals asked for. Intervals: 95 %, over prompts."
    return Section("Goal response", (note,), plots=tuple(plots), tables=tuple(tables))


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


def build_frontier_section(name: str, record: Record, number: int = 1) -> Section:
    """Build score against KL of all arms, and their comparison at equal KL.

    Args:
        name: of the file or folder; "" where the page has one frontier.
        record: of `prefboost.diagnosis.frontier.FrontierReport`.
        number: tells the figures of several frontiers apart.
    """
    start = read_interval(record["start"])
    points = [IntervalPoint(point["arm"], _read(point["kl"]).estimate, _read(point["score"]), _read(point["kl"]))
              for point in record["points"]]  # fmt: skip
    if start is not None:
        points.insert(0, IntervalPoint("start model", 0.0, start))
    axes = Axes("KL to the start model, nats per completion", "score")
    plot = plot_intervals(f"frontier-{number}", "Score against KL", points, axes, joined=True)
    single = "prompts. One training per setting: another seed may change more than they say."
    over = f"{record['seeds']} seeds and prompts." if record["seeds"] > 1 else single
    note = f"Points of an arm are its checkpoints, betas or learning rates. Intervals: 95 %, over {over}"
    rows = tuple((point["arm"], point["setting"], _read(point["kl"]).format(), _read(point["score"]).format())
                 for point in record["points"])  # fmt: skip
    columns = (ReportColumn("arm"), ReportColumn("setting"), *number_columns("KL, nats", "score"))
    leads = tuple(
        (lead["arm"], lead["against"], *cells)
        for lead in record["leads"]
        for cells in list_leads(lead)
    )  # fmt: skip
    headings = (ReportColumn("arm"), ReportColumn("against"), ReportColumn("at KL"),
                *number_columns("score", "other score", "lead"), ReportColumn("verdict"))  # fmt: skip
    compared = ReportTable(headings, leads, caption="at equal KL, interpolated between the points of an arm")
    title = f"Score against KL of {name}" if name else "Score against KL"
    return Section(title, (note,), plots=(plot,), tables=(*([compared] if leads else []), ReportTable(columns, rows)))


def list_leads(lead: Record) -> Iterator[tuple[str, ...]]:
    """List an arm's lead at single KLs and on average; one line that there is none where no KL is shared."""
    average = read_interval(lead["average"])
    if average is None:
        yield ("no KL that both reach", "–", "–", "–", "–")
        return
    yield (f"average, {lead['low']:.3g} to {lead['high']:.3g}", "–", "–", average.format(signed=True), lead["verdict"])
    for kl, (ours, theirs, difference) in lead["at"].items():
        scores = (_read(each).format() for each in (ours, theirs))
        yield (f"{float(kl):.3g}", *scores, _read(difference).format(signed=True), "")


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
