"""Data card of a run: what became of the rows, on which scales, and what the lints found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prefboost.reporting.inspection import list_findings_tables
from prefboost.reporting.run.record import RunRecord
from prefboost.reporting.sections import ReportColumn, ReportTable, Section, number_columns

__all__ = ["build_data_section"]


def build_data_section(runs: Sequence[RunRecord]) -> Section | None:
    """Build the data card: rows by step, rejected rows with reasons, scales, and lints of the pairs trained on."""
    steps, rejected, notes, tables = [], [], [], []
    for run in runs:
        data = run.manifest.get("settings", {}).get("data", {})
        source = data.get("path") or data.get("kind") if isinstance(data, Mapping) else data
        notes += [f"{run.name} reads {source}."] if source else []
        for stage, entry in run.stages.items():
            record = entry.get("notes", {})
            # A stage whose notes have no steps (training, generation) does not pass rows on.
            for step in record.get("steps", ()) if "goal_pairs" in record else ():
                count = sum(step["rejected"].values())
                steps.append(
                    (
                        f"{run.name}, {stage}",
                        step["verb"],
                        f"{step['rows_in']:,}",
                        f"{step['rows_out']:,}",
                        f"{count:,}",
                    )
                )
                rejected += [
                    (f"{run.name}, {stage}", step["verb"], reason, f"{n:,}") for reason, n in step["rejected"].items()
                ]
            notes += [
                f"{run.name}, {stage}: scale of {aspect or 'the score'}: {scale['kind']} ({scale['because']})."
                for aspect, scale in record.get("scales", {}).items()
                if scale.get("because")
            ]
            for what in ("dropped", "shortened"):
                rejected += [
                    (f"{run.name}, {stage}", what, reason, f"{n:,}") for reason, n in record.get(what, {}).items()
                ]
    if steps:
        columns = (ReportColumn("stage"), ReportColumn("step"), *number_columns("rows in", "rows out", "rejected"))
        tables.append(ReportTable(columns, tuple(steps), caption="what became of the rows"))
    if rejected:
        columns = (ReportColumn("stage"), ReportColumn("step"), ReportColumn("reason"), *number_columns("rows"))
        tables.append(ReportTable(columns, tuple(rejected), caption="rejected or shortened rows, by reason"))
    for run in runs:
        if run.inspection is not None:
            counts = f"{run.inspection.rows:,} rows of {run.inspection.prompts:,} prompts"
            notes.append(f"{run.name} trains on {counts}.")
            tables += list_findings_tables(run.inspection, f"lints of the pairs of {run.name}")
            notes += [] if run.inspection.findings else [f"No lint found anything in the pairs of {run.name}."]
    return Section("Data card", tuple(notes), tables=tuple(tables)) if tables or notes else None
