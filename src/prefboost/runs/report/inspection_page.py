"""The page of a data set alone: what `inspect` found, and rows from its beginning to its end."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import polars as pl

from prefboost.atomic import write_atomically
from prefboost.diagnosis import Inspection
from prefboost.diagnosis.streams import Stream
from prefboost.reporting.inspection import build_inspection_sections
from prefboost.reporting.report_page import ReportPage, render_report
from prefboost.reporting.samples import Samples, choose_pairs, choose_scored, collect_samples
from prefboost.reporting.sections import Section
from prefboost.runs.report.report import SAMPLES

__all__ = ["choose_stream_samples", "write_inspection_page"]


def write_inspection_page(inspection: Inspection, stream: Stream, out: str | Path, *, name: str) -> None:
    """Write the page.

    Args:
        inspection: of the data.
        stream: the same data, from which samples are chosen in one more pass.
        out: ``.html`` file; see `prefboost.runs.report.report.guard_page`.
        name: of the data.
    """
    counts = Counter(finding.severity for finding in inspection.findings)
    severities = ", ".join(f"{count} {severity}{'s' if count > 1 else ''}" for severity, count in counts.items())
    rejected = sum(inspection.rejects.values())
    samples = choose_stream_samples(stream, inspection)
    page = ReportPage(
        title=Path(name).name or name,
        about=name,
        verdict=[
            f"Lints found {severities}." if severities else "No lint found anything.",
            f"{rejected:,} of {inspection.records:,} records were rejected." if rejected else "No record was rejected.",
        ],
        sections=[
            *build_inspection_sections(inspection),
            *([] if samples is None else [Section("Samples", samples=samples)]),
        ],
    )
    write_atomically(Path(out), render_report(page), errors="replace")


def choose_stream_samples(stream: Stream, inspection: Inspection, limit: int = SAMPLES) -> Samples | None:
    """Choose rows at equal distances; only these stay in memory.

    Args:
        stream: pairs, or completions, of which all in a batch that share a prompt are shown together.
        inspection: of the same data, which counted them.
        limit: most rows that are chosen.
    """
    rows = inspection.rows
    places = [at * rows // min(limit, rows) for at in range(min(limit, rows))]
    frames, before = [], 0
    for table in stream():
        within = [place - before for place in places if before <= place < before + table.frame.height]
        before += table.frame.height
        chosen = table.frame[within]
        if "completion" in chosen.columns:
            chosen = table.frame.filter(pl.col("prompt_id").is_in(chosen["prompt_id"].implode()))
        frames.append(chosen)
    frame = pl.concat(frames, how="diagonal_relaxed") if frames else pl.DataFrame()
    if "chosen" in frame.columns:
        return collect_samples([(choose_pairs(frame, "pairs", frame.height), rows)])
    return collect_samples([(choose_scored(frame, "completions", limit), inspection.prompts)]) if frame.height else None
