"""Comparisons of several policies: a reproduction's claims and arms, and the demo's four policies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prefboost.progress import duration
from prefboost.reporting.plots import Axes, IntervalPoint, Plot, plot_interval_rows, plot_intervals
from prefboost.reporting.run.evidence import build_frontier_section
from prefboost.reporting.sections import Mark, ReportColumn, ReportTable, Section, Strip
from prefboost.statistics import Interval
from prefboost.statistics.json_form import read_interval

__all__ = ["build_comparison_sections", "build_demo_sections", "list_claims_table", "state_comparisons"]

Record = Mapping[str, Any]

_FRONTIER = (
    "Every policy asked for the top score on held-out prompts. KL: mean log-prob under the policy less that under the "
    "start model, of its own answers. No policy saw the gold score in training. Intervals: 95 %, over prompts."
)

_RESPONSE = (
    "Mean score of completions to prompts that no training saw, by the goal stated in the prompt. The broad line is "
    "perfect control. Intervals: 95 %, over prompts."
)

_MAIN_CLAIMS = 3
"""Claims of a reproduction that are stated whatever came out."""

_KL = Axes("KL to the start model, nats per completion", "score")


def state_comparisons(comparisons: Mapping[str, Record], demos: Mapping[str, Record]) -> Iterator[str]:
    """State the claims of reproductions with their verdicts, and the sentences of demos.

    The first claims of a reproduction are its main questions. Of the others those that are decided have a sentence
    each, and the rest share one: a reader has two minutes, and a table below has all figures.

    Args:
        comparisons: folder -> results of `prefboost reproduce`.
        demos: folder -> results of `prefboost demo`.
    """
    for record in comparisons.values():
        open_questions = []
        for number, claim in enumerate(record["claims"]):
            difference = read_interval(claim["difference"])
            if difference is None:
                continue
            if number < _MAIN_CLAIMS or claim["verdict"] != "undecided":
                yield f"{claim['text']}: {claim['verdict']}, {difference.format(signed=True)} {claim['unit']}."
            else:
                open_questions.append(claim["text"])
        if open_questions:
            yield f"Undecided as well: {'; '.join(open_questions)}."
    for record in demos.values():
        yield from record["verdict"]


def build_comparison_sections(comparisons: Mapping[str, Record], *, named: bool = False) -> Iterator[Section]:
    """Build the claims, the frontier and the figures of every reproduction; ``named`` puts its folder into titles."""
    for number, (name, record) in enumerate(comparisons.items(), 1):
        suffix = f"-{number}" if len(comparisons) > 1 else ""
        of = f" of {name}" if named else ""
        yield Section(f"Claims{of}", tables=(list_claims_table(record),))
        values: dict[tuple[str, str], dict[str, Interval]] = {}
        for figure in record["figures"]:
            value = read_interval(figure["value"])
            if value is not None:
                values.setdefault((figure["arm"], figure["setting"]), {})[figure["measure"]] = value
        # Results of earlier versions have no frontier: their arms are drawn at their two settings alone.
        if record.get("frontier") is not None:
            yield build_frontier_section(name if of else "", record["frontier"], number)
        points = [
            IntervalPoint(f"{arm}, {setting}", by_measure["kl"].estimate, by_measure["score"], by_measure["kl"])
            for (arm, setting), by_measure in values.items()
            if {"kl", "score"} <= by_measure.keys() and record.get("frontier") is None
        ]
        if points:
            plot = plot_intervals(f"frontier-{number}", "Score against KL", points, _KL)
            yield Section(f"Score against KL{of}", ("Intervals: 95 %, over seeds and prompts.",), plots=(plot,))
        measures = list(dict.fromkeys(measure for by_measure in values.values() for measure in by_measure))
        rows = tuple(
            (arm, setting, *("–" if name not in by_measure else by_measure[name].format() for name in measures))
            for (arm, setting), by_measure in values.items()
        )
        columns = (ReportColumn("arm"), ReportColumn("setting"),
                   *(ReportColumn(measure.replace("_", " "), True) for measure in measures))  # fmt: skip
        changes = [
            IntervalPoint(setting, arm, by_measure["good_rejected"])
            for (arm, setting), by_measure in values.items()
            if "good_rejected" in by_measure
        ]
        plots = _plot_kept(f"good-rejected{suffix}", changes)
        cost = f"{record['cells']:,} cells, {duration(record['seconds'])} of training and measuring."
        yield Section(f"Arms{of}", (cost,), plots=plots, tables=(ReportTable(columns, rows),))


def build_demo_sections(demos: Mapping[str, Record], *, named: bool = False) -> Iterator[Section]:
    """Build frontier, goal response and unlearning of every run of the demo; ``named`` puts its folder into titles."""
    for number, (name, record) in enumerate(demos.items(), 1):
        suffix = f"-demo-{number}" if len(demos) > 1 else "-demo"
        of = f" of {name}" if named else ""
        names = {key: str(top["arm"].get("name", key)) for key, top in record["top"].items()}
        facts = record.get("facts", {})
        plots = []
        for kind in ("proxy", "gold"):
            points = [
                IntervalPoint(names[key], kl.estimate, score, kl)
                for key, top in record["top"].items()
                if (kl := read_interval(top["kl"])) is not None and (score := read_interval(top[kind])) is not None
            ]
            axes = Axes(_KL.x, f"{kind} score", reference=facts.get("start", {}).get(kind))
            title = f"{kind.capitalize()} score against KL"
            plots.append(plot_intervals(f"frontier-{kind}{suffix}", title, points, axes))
        start = ", ".join(f"{kind} score {value:.2f}" for kind, value in facts.get("start", {}).items())
        notes = (_FRONTIER, *([f"Dashed line: the start model, not asked for a goal ({start})."] if start else []))
        yield Section(f"Score against KL{of}", notes, plots=tuple(plots))
        responses = [
            IntervalPoint(f"{names.get(policy, policy)}, {kind} score", float(goal), value)
            for policy, each in record["policies"].items()
            for kind, key in (("proxy", "by_goal"), ("gold", "gold_by_goal"))
            for goal, at in each[key].items()
            if (value := read_interval(at)) is not None
        ]
        response = plot_intervals(f"goal-response{suffix}", "Achieved against requested score", responses,
                                  Axes("score asked for", "score achieved"), joined=True, diagonal=True)  # fmt: skip
        yield Section(f"Goal response{of}", (_RESPONSE,), plots=(response,))
        changes = [
            IntervalPoint("change", policy, value)
            for policy, at in record["unlearning"].items()
            if (value := read_interval(at)) is not None
        ]
        caption = facts.get("unlearning_caption", "")
        notes = tuple(filter(None, (caption, "" if changes else "There were no such completions.")))
        yield Section(f"Unlearning by score{of}", notes, plots=_plot_kept(f"unlearning{suffix}", changes))


def _plot_kept(name: str, points: list[IntervalPoint]) -> tuple[Plot, ...]:
    title = "Change of the log-prob of good completions that no pair chose"
    return (plot_interval_rows(name, title, points, "nats per completion"),) if points else ()


def list_claims_table(record: Record) -> ReportTable:
    """List the claims with their differences, drawn over one axis."""
    claims = [(claim, difference) for claim in record["claims"] if (difference := read_interval(claim["difference"]))]
    rows = tuple(
        (claim["text"], claim["verdict"], difference.format(signed=True), claim["unit"]) for claim, difference in claims
    )
    columns = (ReportColumn("claim"), ReportColumn("verdict"), ReportColumn("difference", True), ReportColumn("unit"))
    # Differences in points and in nats have no axis in common: each unit that is not the first goes undrawn.
    unit = claims[0][0]["unit"] if claims else ""
    marks = tuple(
        (Mark(difference.low, difference.high, difference.estimate),) if claim["unit"] == unit else ()
        for claim, difference in claims
    )
    return ReportTable(columns, rows, Strip(f"difference, {unit}", marks, ("difference",), 0.0) if claims else None)
