"""`inspect`: measure what preference data hold, in one streaming pass."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from prefboost.diagnosis.examples import add_texts
from prefboost.diagnosis.finding import EXAMPLES, Example, Finding, Severity
from prefboost.diagnosis.lints import CONTAMINATED, LINTS, NGRAM
from prefboost.diagnosis.measures import (
    Histogram,
    Lengths,
    ScoreSummary,
    build_histogram,
    summarise_lengths,
    summarise_scores,
)
from prefboost.diagnosis.row_digest import COMPLETION_COLUMNS, digest_rows, list_score_columns
from prefboost.diagnosis.streams import open_stream
from prefboost.preferences.likeness import find_rows_with_grams, hash_ngrams
from prefboost.preferences.scales.missing_marks import describe_marks, find_marks
from prefboost.preferences.scales.score_range import PUBLISHED, infer_score_range
from prefboost.preferences.score_hint import suggest_score_column
from prefboost.sources import Columns, resolve_source
from prefboost.sources.layouts.fitted import LATER_LAYOUTS, add_later_layouts
from prefboost.sources.layouts.unmapped import UNMAPPED, suggest_remedy, sum_unmapped
from prefboost.sources.messages.conversations import NULL_KEYS
from prefboost.sources.rows.identity import PARTED, REPEATED, SHARED
from prefboost.tables import Table

__all__ = ["Inspection", "inspect"]


@dataclass(frozen=True)
class Inspection:
    """Measurements and findings; `to_json` is the document that ``--json`` prints.

    Args:
        path: the source.
        table: the declared table that it was read as.
        rows: rows of that table; ``records`` of the file and ``prompts`` beside it.
        mapping: part of the table -> column that it was read from.
        scores: score column -> summary; aspects as ``score.aspect``.
        lengths: prompt, completion, chosen, rejected -> characters; ``words`` the same in words.
        goals: histogram of goals: those of goal pairs, else those that pairs would get (their two scores, r_w and r_l
            of arXiv 2410.08067, section 3); None without scores.
        distinct: share of pairs (all pairs of a prompt's completions) whose two scores differ.
        views: of goal pairs, view -> rows; ``flipped`` counts the rows whose completions changed sides.
        rejects: reason -> count; ``reject_examples`` holds the first of each.
        findings: lints that found something.
    """

    path: str
    table: str
    rows: int
    records: int
    prompts: int
    mapping: Mapping[str, Any]
    scores: Mapping[str, ScoreSummary]
    lengths: Mapping[str, Lengths]
    words: Mapping[str, Lengths]
    goals: Histogram | None
    distinct: float | None
    views: Mapping[str, int]
    rejects: Mapping[str, int]
    reject_examples: Mapping[str, tuple[Example, ...]]
    findings: tuple[Finding, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return dataclasses.asdict(self)

    def to_json(self) -> str:
        """Write one JSON document (RFC 8259: there is no NaN in it)."""
        return json.dumps(self.as_dict(), ensure_ascii=False, indent=2, allow_nan=False)


def inspect(source: Any, *, columns: Columns | None = None, against: Iterable[str] = ()) -> Inspection:
    """Measure a source.

    Batches stream by; about a hundred bytes of each row stay in memory (hashes, lengths, scores), so that a million
    rows take some 100 MB whatever their texts, and as much again while the lints run. Goal pairs, as
    `prefboost augment` writes them, are checked against their facts.

    Args:
        source: as for `read`, or a table, or a file or folder of goal pairs.
        columns: as for `read`.
        against: texts of a benchmark; prompts that share 13 consecutive words with it are a finding.

    Raises:
        DataError: as `read`.
    """
    if not isinstance(source, str | Path | Table):
        source = resolve_source(source)
    stream = open_stream(source, columns or Columns())
    benchmark_grams = hash_ngrams(pl.Series(list(against), dtype=pl.String), NGRAM)["gram"]
    totals = _Totals()
    digests = list(_digest_tables(stream(), benchmark_grams, totals))
    frame = pl.concat(digests, how="diagonal_relaxed") if digests else pl.DataFrame()
    findings = [finding for lint in LINTS.values() if frame.height and (finding := lint(frame)) is not None]
    findings = [_add_hint(finding, totals.hint) for finding in findings]
    findings = [*_find_unmapped(totals), *findings]
    findings += [
        Finding(name, severity, sentence, count, frame.height, (), remedy)
        for note, (name, severity, sentence, remedy) in _NOTED.items()
        if (count := totals.noted[note])
    ]
    findings += _find_undeclared_range(frame, totals.declared)
    texts = [name for name in ("prompt", *COMPLETION_COLUMNS) if f"{name}_chars" in frame.columns]
    return Inspection(
        path=str(source) if isinstance(source, str | Path) else str(getattr(source, "path", None) or ""),
        table=totals.table,
        rows=frame.height,
        records=totals.records,
        # In goal pairs the texts of a prompt differ by the goal, so that its ids are counted.
        prompts=frame["prompt_key" if "view" in frame.columns else "prompt_hash"].n_unique() if frame.height else 0,
        mapping=add_later_layouts(totals.mapping, totals.layouts),
        scores={
            name: scores
            for name in list_score_columns(frame.columns)
            if (scores := summarise_scores(frame[name])) is not None
        },
        lengths={name: summarise_lengths(frame[f"{name}_chars"]) for name in texts},
        words={name: summarise_lengths(frame[f"{name}_words"]) for name in texts},
        goals=_count_goals(frame),
        distinct=_measure_distinct(frame),
        views=_count_views(frame),
        rejects=dict(totals.rejects),
        reject_examples={reason: tuple(examples) for reason, examples in totals.examples.items()},
        findings=add_texts(findings, stream),
    )


@dataclass
class _Totals:
    """Totals over batches, besides the digests of their rows."""

    table: str = "nothing"
    records: int = 0
    hint: str = ""
    noted: Counter[str] = dataclasses.field(default_factory=Counter)
    declared: bool = False
    unmapped: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)
    layouts: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)
    mapping: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    rejects: Counter[str] = dataclasses.field(default_factory=Counter)
    examples: dict[str, list[Example]] = dataclasses.field(default_factory=dict)

    def add(self, table: Table) -> None:
        self.table = table.spec.name
        self.hint = self.hint or suggest_score_column(table)
        for step in table.steps:
            if step.verb == "read":
                self.records += int(step.notes.get("records", step.rows_in))
                self.mapping = step.notes.get("guess", {})
                self.noted.update({name: int(step.notes.get(name, 0)) for name in _NOTED})
                self.declared |= "score range" in step.notes
                self.layouts = sum_unmapped([self.layouts, step.notes.get(LATER_LAYOUTS, {})])
                self.unmapped = sum_unmapped([self.unmapped, step.notes.get(UNMAPPED, {})])
        # Only the first cases of a reason stay in memory: a file may have a million rejects.
        first = pl.struct("row", "found", "path").head(EXAMPLES)
        by_reason = table.rejects.group_by("reason", maintain_order=True).agg(n=pl.len(), first=first)
        for reason, count, rows in by_reason.iter_rows():
            self.rejects[reason] += count
            examples = self.examples.setdefault(reason, [])
            added = [Example(row["row"], row["found"] or "", row["path"] or "") for row in rows]
            examples += added[: EXAMPLES - len(examples)]


def _add_hint(finding: Finding, hint: str) -> Finding:
    """Add the columns of numbers that may be the score to the remedy of `no_scores`."""
    if finding.name != "no_scores" or not hint:
        return finding
    _, first, rest = finding.remedy.partition("score the completions first")
    return dataclasses.replace(finding, remedy=f"{hint}{first}{rest}")


_ID_REMEDY = "the prompts' content decides; name another column (columns.prompt_id=...), or mend the ids if they matter"

_NOTED: dict[str, tuple[str, Severity, str, str]] = {
    SHARED: (
        "shared_prompt_ids",
        "warning",
        "the source gives different prompts the same id: they are told apart by their content",
        _ID_REMEDY,
    ),
    PARTED: (
        "parted_prompts",
        "note",
        "the source gives one prompt several ids: its completions are compared all the same",
        _ID_REMEDY,
    ),
    REPEATED: (
        "repeated_ids",
        "note",
        "the source gives several rows the same id, so that each bears its row's number as well",
        "nothing is lost; name another column (columns.pair_id=..., columns.completion_id=...) if it was meant",
    ),
    NULL_KEYS: (
        "null_keys",
        "note",
        "messages or tools have keys whose value is null, which are left out: Parquet and Arrow write null for every "
        "key that a record lacks",
        "nothing is lost unless a null was meant; JSON lines keep it as it stands",
    ),
}
"""Notes of the step ``read`` that are findings: name, severity, sentence and remedy of each."""


def _find_undeclared_range(frame: pl.DataFrame, declared: bool) -> list[Finding]:
    """Report how `augment` scales scores whose range is not declared, where that is not 1 to 10 as published."""
    columns = [name for name in ("score", "score_chosen", "score_rejected") if name in frame.columns]
    if declared or not columns or "goal" in frame.columns:
        return []
    scores = pl.concat([frame[name].rename("score") for name in columns]).drop_nulls()
    scores = scores.filter(scores.is_finite())
    marks = find_marks(scores.to_numpy())
    findings = []
    if marks:
        # Numbers that stand for a missing score.
        sentence = f"{describe_marks(scores.to_numpy(), marks)}: augment rejects these rows"
        remedy = "leave these completions out, or declare a range that holds such scores: data.score_range=[LOW,HIGH]"
        count = int(scores.is_in(list(marks)).sum())
        findings.append(Finding("missing_marks", "warning", sentence, count, scores.len(), (), remedy))
    scores = scores.filter(~scores.is_in(list(marks)))
    score_range = infer_score_range(scores.to_numpy())
    if scores.is_empty() or score_range.ends == PUBLISHED:
        return findings
    ends = f"{score_range.ends[0]:.6g} to {score_range.ends[1]:.6g}"
    use = (
        f"are taken for a scale from {ends}"
        if score_range.kind == "declared"
        else f"are fitted to 1 to 10 as {score_range.kind}"
    )
    sentence = f"{score_range.because}: they {use}"
    remedy = (
        f"declare their range, e.g. data.score_range=[{ends.replace(' to ', ',')}], or choose a scale: scale=min_max"
    )
    return [*findings, Finding("undeclared_range", "note", sentence, scores.len(), scores.len(), (), remedy)]


def _find_unmapped(totals: _Totals) -> list[Finding]:
    """Report each column that may belong to the question and plays no part."""
    sentence = "the column {!r} may belong to the question and plays no part, so that augment refuses these data"
    return [
        Finding(
            "unmapped_column",
            "error",
            sentence.format(name),
            counts["records"],
            totals.records,
            (Example(counts["first"], f"the first record in which {name!r} holds something of its own"),),
            suggest_remedy(name, totals.mapping),
        )
        for name, counts in totals.unmapped.items()
    ]


def _digest_tables(tables: Iterable[Table], benchmark_grams: pl.Series, totals: _Totals) -> Iterator[pl.DataFrame]:
    for table in tables:
        totals.add(table)
        rows = digest_rows(table)
        if benchmark_grams.len():
            hit = find_rows_with_grams(table.frame["prompt"], benchmark_grams, NGRAM)
            rows = rows.with_columns(pl.int_range(pl.len()).is_in(hit.implode()).alias(CONTAMINATED))
        yield rows


def _count_goals(frame: pl.DataFrame) -> Histogram | None:
    if "goal" in frame.columns:
        return build_histogram(frame["goal"])
    scores = [
        frame[name].rename("goal") for name in ("score", "score_chosen", "score_rejected") if name in frame.columns
    ]
    return build_histogram(pl.concat(scores)) if scores else None


def _count_views(frame: pl.DataFrame) -> dict[str, int]:
    if "view" not in frame.columns:
        return {}
    counts = {str(view): int(count) for view, count in frame["view"].value_counts().sort("view").iter_rows()}
    return {**counts, "flipped": int(frame["flipped"].sum() or 0)}


def _measure_distinct(frame: pl.DataFrame) -> float | None:
    if "score_chosen" in frame.columns:
        differ = frame.select((pl.col("score_chosen") != pl.col("score_rejected")).mean()).item()
        return None if differ is None else float(differ)
    if "score" not in frame.columns or frame["score"].null_count() == frame.height:
        return None
    # Pairs of a prompt with n completions are n (n - 1) / 2; those of equal score are counted per score and taken off.
    per_score = frame.drop_nulls("score").group_by("prompt_key", "score").agg(n=pl.len())
    equal = per_score.select(_count_pairs(pl.col("n")).sum()).item()
    per_prompt = per_score.group_by("prompt_key").agg(pl.col("n").sum())
    pairs = per_prompt.select(_count_pairs(pl.col("n")).sum()).item()
    return None if not pairs else 1.0 - float(equal) / float(pairs)


def _count_pairs(count: pl.Expr) -> pl.Expr:
    number = count.cast(pl.Float64)
    return number * (number - 1) / 2
