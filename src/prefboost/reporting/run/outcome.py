"""Outcome of a run in sentences, and its cost by stage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prefboost.progress import duration
from prefboost.reporting.plots import Axes, IntervalPoint, plot_intervals
from prefboost.reporting.run.record import RunRecord
from prefboost.reporting.sections import ReportColumn, ReportTable, Section, number_columns
from prefboost.statistics.json_form import read_interval

__all__ = ["build_cost_by_stage_section", "build_rounds_section", "state_progress", "state_rounds", "state_trainings"]

_GOOD = ">="
_PARTS = {
    "time/forward_backward": "forward and backward",
    "time/reference": "reference",
    "time/optimizer": "optimiser",
    "time/data": "data",
}


def state_progress(run: RunRecord) -> Iterator[str]:
    """State what a run is doing; nothing of one at which no process is at work."""
    if run.running:
        begun = next(iter(run.manifest.get("begun", {})), None)
        yield f"{run.name}: still at work{f' on {begun}' if begun else ''}; {len(run.stages)} stages are finished."


def state_rounds(run: RunRecord) -> Iterator[str]:
    """State the gain of every evaluated round over the start model."""
    for stage, entry in run.stages.items():
        gain = read_interval(entry.get("notes", {}).get("gain"))
        if gain is not None and gain.rows:
            compared = "above" if gain.low > 0 else "below" if gain.high < 0 else "not distinguishable from"
            yield (
                f"{run.name}, {stage.removesuffix('/evaluate')}: asked for the top score it is {compared} the start "
                f"model, {gain.format(signed=True)} points on {gain.clusters:,} held-out prompts."
            )


def state_trainings(run: RunRecord) -> Iterator[str]:
    """State for each training how well it fits, and what became of good rejected completions."""
    for name, training in run.trainings.items():
        label = run.label(name)
        losses = [float(line["loss"]) for line in training.log if isinstance(line.get("loss"), int | float)]
        if not losses:
            continue
        last = next(line for line in reversed(training.log) if "loss" in line)
        state = "trained" if training.report else "in training"
        steps = training.report.get("steps")
        of = f" of {steps:,}" if steps and steps != last["step"] else ""
        # A single step is noise; a tenth of the run is what it has come to.
        tail = losses[-max(1, len(losses) // 10) :]
        accuracy = last.get("rewards/accuracies")
        higher = "" if accuracy is None else f"; the chosen completion has the higher reward in {accuracy:.0%} of pairs"
        ends = f"loss {losses[0]:.3f} to {sum(tail) / len(tail):.3f}"
        yield f"{label}: {state} for {last['step']:,}{of} steps, {ends}{higher}."
        good = [
            key for key in last if key.startswith("logp_change/rejected") and _GOOD in key and last[key] is not None
        ]
        for key in good[-1:]:
            chosen = last.get(key.replace("rejected", "chosen"))
            beside = "" if chosen is None else f" (chosen ones of that score: {chosen:+.1f})"
            yield (
                f"{label}: log-prob of rejected completions with a score of at least {key.rpartition(_GOOD)[2]}: "
                f"{last[key]:+.1f} nats{beside} at the end of the log."
            )
        yield from (f"{label}: {message}" for message in training.report.get("messages", ()))


def build_rounds_section(runs: Sequence[RunRecord]) -> Section | None:
    """Build the score at the top goal round by round, of on-policy runs; None without any evaluation."""
    points, rows = [], []
    for run in runs:
        for stage, entry in run.stages.items():
            notes = entry.get("notes", {})
            score = read_interval(notes.get("score")) if stage.endswith("/evaluate") else None
            if score is not None:
                name = stage.removesuffix("/evaluate")
                number = 0 if name == "start" else int(name.rpartition(" ")[2])
                points.append(IntervalPoint(run.name, number, score))
                gain = read_interval(notes.get("gain"))
                cells = (
                    score.format(),
                    "–" if gain is None else gain.format(signed=True),
                    f"{notes['characters']:.0f}",
                )
                rows.append((f"{run.name}, {name}", *cells))
    if not points:
        return None
    columns = ("score at the top goal", "against the start model", "characters")
    headings = (ReportColumn("policy"), *number_columns(*columns))
    axes = Axes("round (0: the start model)", "score on held-out prompts", whole=True)
    plot = plot_intervals("rounds", "Score at the top goal by round", points, axes, joined=True)
    return Section("Score by round", plots=(plot,), tables=(ReportTable(headings, tuple(rows)),))


def build_cost_by_stage_section(runs: Sequence[RunRecord]) -> Section | None:
    """Build the table of time by stage, and of the parts of each training; None where nothing is finished."""
    stages = tuple(
        (run.name, stage, duration(entry.get("took_s", 0.0)), entry.get("finished", ""))
        for run in runs
        for stage, entry in run.stages.items()
    )
    parts = []
    for run in runs:
        for name, training in run.trainings.items():
            speed = training.report.get("speed", {})
            if speed:
                times = tuple(duration(speed.get(key, 0.0)) for key in _PARTS)
                rate, memory = f"{speed.get('tokens_per_s', 0):,.0f}", f"{speed.get('peak_gib', 0):.1f}"
                whole = duration(training.report.get("seconds", 0.0))
                device = " ".join(filter(None, (training.report.get("engine"), training.report.get("precision"))))
                parts.append(
                    (run.label(name), device, whole, *times, f"{training.report.get('tokens', 0):,}", rate, memory)
                )
    tables = []
    if stages:
        columns = (ReportColumn("run"), ReportColumn("stage"), ReportColumn("time", True), ReportColumn("finished"))
        tables.append(ReportTable(columns, stages, caption="by stage, of the call that finished it"))
    if parts:
        names = ("time", *_PARTS.values(), "tokens of a pass", "tokens per second", "peak GiB")
        headings = (ReportColumn("training"), ReportColumn("engine"), *number_columns(*names))
        tables.append(ReportTable(headings, tuple(parts), caption="training, by part of the work"))
    spending = tuple(
        (
            run.name,
            store,
            f"{spent.requests:,}",
            f"{spent.prompt_tokens:,}",
            f"{spent.tokens:,}",
            f"{spent.dollars:,.2f}",
        )
        for run in runs
        for store, spent in run.spending.items()
    )
    if spending:
        headings = (ReportColumn("run"), ReportColumn("answers"),
                    *number_columns("calls", "tokens read", "tokens written", "dollars"))  # fmt: skip
        tables.append(ReportTable(headings, spending, caption="models that were asked, over all calls"))
    return Section("Cost and time", tables=tuple(tables)) if tables else None
