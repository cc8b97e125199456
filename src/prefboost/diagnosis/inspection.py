"""`inspect`: what is in preference data, measured in one streaming pass."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from prefboost.diagnosis.examples import with_texts
from prefboost.diagnosis.finding import EXAMPLES, Example, Finding
from prefboost.diagnosis.lints import CONTAMINATED, LINTS, NGRAM
from prefboost.diagnosis.measures import Histogram, Lengths, ScoreSummary, histogram, lengths_of, summary
from prefboost.diagnosis.slim import SIDES, score_columns, slim
from prefboost.diagnosis.streams import stream_of
from prefboost.preferences.ngrams import ngram_hashes, rows_with_grams
from prefboost.preferences.scales.missing_marks import describe_marks, find_marks
from prefboost.preferences.scales.score_range import PUBLISHED, infer_score_range
from prefboost.preferences.score_hint import score_hint
from prefboost.sources import Columns, Source
from prefboost.sources.layouts.fitted import LATER_LAYOUTS, with_layouts
from prefboost.sources.layouts.unmapped import UNMAPPED, remedy_for, sum_unmapped
from prefboost.sources.rows.identifiers import REPEATED
from prefboost.sources.rows.prompt_identity import PARTED, SHARED
from prefboost.tables import Table

__all__ = ["Inspection", "inspect"]


@dataclass(frozen=True)
class Inspection:
    """What was found; `to_json` is the document that ``--json`` prints.

    Args:
        path: the source.
        table: which declared table it was read as.
        rows: rows of that table; ``records`` of the file and ``prompts`` beside it.
        mapping: what each column was taken for.
        scores: score column -> summary; aspects as ``score.aspect``.
        lengths: prompt, completion, chosen, rejected -> characters; ``words`` the same in words.
        goals: how the goals spread: those of goal pairs, else those that pairs would be asked for (their own two
            scores, r_w and r_l of arXiv 2410.08067, section 3); None without scores.
        distinct: share of pairs (all pairs of a prompt's completions) whose two scores differ.
        views: of goal pairs, view -> rows; ``flipped`` are the rows whose completions changed sides.
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
        """Plain values, ready for JSON."""
        return dataclasses.asdict(self)

    def to_json(self) -> str:
        """One JSON document (RFC 8259: there is no NaN in it)."""
        return json.dumps(self.as_dict(), ensure_ascii=False, indent=2, allow_nan=False)


def inspect(
    source: str | Path | Source | Table, *, columns: Columns | None = None, against: Iterable[str] = ()
) -> Inspection:
    """Measure a source.

    Batches stream by; of each row about a hundred bytes are kept (hashes, lengths, scores), so that a million rows take
    some 100 MB whatever their texts, and as much again while the lints run. Goal pairs, as `prefboost augment` writes
    them, are held to their facts.

    Args:
        source: as for `read`, or a table, or a file or folder of goal pairs.
        columns: as for `read`.
        against: texts of a benchmark; prompts that share a run of 13 words with one are a finding.

    Raises:
        DataError: as `read`.
    """
    stream = stream_of(source, columns or Columns())
    known = ngram_hashes(pl.Series(list(against), dtype=pl.String), NGRAM)["gram"]
    gathered = _Gathered()
    kept = list(_slimmed(stream(), known, gathered))
    frame = pl.concat(kept, how="diagonal_relaxed") if kept else pl.DataFrame()
    findings = [finding for lint in LINTS.values() if frame.height and (finding := lint(frame)) is not None]
    findings = [_with_hint(finding, gathered.hint) for finding in findings]
    findings = [*_unmapped(gathered), *findings, *_disputed(gathered.disputed, frame.height)]
    findings += [*_repeated(gathered.repeated, frame.height), *_undeclared(frame, gathered.declared)]
    texts = [name for name in ("prompt", *SIDES) if f"{name}_chars" in frame.columns]
    return Inspection(
        path=str(source) if isinstance(source, str | Path) else str(getattr(source, "path", None) or ""),
        table=gathered.table,
        rows=frame.height,
        records=gathered.records,
        prompts=_prompts(frame),
        mapping=with_layouts(gathered.mapping, gathered.layouts),
        scores={name: seen for name in score_columns(frame.columns) if (seen := summary(frame[name])) is not None},
        lengths={name: lengths_of(frame[f"{name}_chars"]) for name in texts},
        words={name: lengths_of(frame[f"{name}_words"]) for name in texts},
        goals=_goals(frame),
        distinct=_distinct(frame),
        views=_views(frame),
        rejects=dict(gathered.rejects),
        reject_examples={reason: tuple(seen) for reason, seen in gathered.examples.items()},
        findings=with_texts(findings, stream),
    )


@dataclass
class _Gathered:
    """What batches leave behind besides their slim rows."""

    table: str = "nothing"
    records: int = 0
    repeated: int = 0
    hint: str = ""
    disputed: Counter[str] = dataclasses.field(default_factory=Counter)
    declared: bool = False
    unmapped: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)
    layouts: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)
    mapping: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    rejects: Counter[str] = dataclasses.field(default_factory=Counter)
    examples: dict[str, list[Example]] = dataclasses.field(default_factory=dict)

    def add(self, table: Table) -> None:
        self.table = table.spec.name
        self.hint = self.hint or score_hint(table)
        for step in table.steps:
            if step.verb == "read":
                self.records += int(step.notes.get("records", step.rows_in))
                self.mapping = step.notes.get("guess", {})
                self.repeated += int(step.notes.get(REPEATED, 0))
                self.disputed.update({name: int(step.notes.get(name, 0)) for name in (SHARED, PARTED)})
                self.declared |= "score range" in step.notes
                self.layouts = sum_unmapped([self.layouts, step.notes.get(LATER_LAYOUTS, {})])
                self.unmapped = sum_unmapped([self.unmapped, step.notes.get(UNMAPPED, {})])
        first = pl.struct("row", "found", "path").head(EXAMPLES)
        by_reason = table.rejects.group_by("reason", maintain_order=True).agg(n=pl.len(), first=first)
        for reason, count, rows in by_reason.iter_rows():
            self.rejects[reason] += count
            seen = self.examples.setdefault(reason, [])
            more = [Example(row["row"], row["found"] or "", row["path"] or "") for row in rows]
            seen += more[: EXAMPLES - len(seen)]


def _with_hint(finding: Finding, hint: str) -> Finding:
    """The finding, with the columns of numbers that may be the score where none was found."""
    if finding.name != "no_scores" or not hint:
        return finding
    _, first, rest = finding.remedy.partition("score the completions first")
    return dataclasses.replace(finding, remedy=f"{hint}{first}{rest}")


def _repeated(count: int, rows: int) -> list[Finding]:
    if not count:
        return []
    sentence = "the source gives several rows the same id, so that each bears its row's number as well"
    remedy = "nothing is lost; name another column (columns.pair_id=..., columns.completion_id=...) if it was meant"
    return [Finding("repeated_ids", "note", sentence, count, rows, (), remedy)]


def _disputed(counts: Counter[str], rows: int) -> list[Finding]:
    """Where the source's ids of prompts disagree with the prompts."""
    remedy = "the prompts' content decides; name another column (columns.prompt_id=...), or mend the ids if they matter"
    found = []
    if counts[SHARED]:
        sentence = "the source gives different prompts the same id: they are told apart by their content"
        found.append(Finding("shared_prompt_ids", "warning", sentence, counts[SHARED], rows, (), remedy))
    if counts[PARTED]:
        sentence = "the source gives one prompt several ids: its completions are compared all the same"
        found.append(Finding("parted_prompts", "note", sentence, counts[PARTED], rows, (), remedy))
    return found


def _undeclared(frame: pl.DataFrame, declared: bool) -> list[Finding]:
    """What `augment` makes of scores whose range nobody declares, where that is not 1 to 10 as published."""
    columns = [name for name in ("score", "score_chosen", "score_rejected") if name in frame.columns]
    if declared or not columns or "goal" in frame.columns:
        return []
    scores = pl.concat([frame[name].rename("score") for name in columns]).drop_nulls()
    scores = scores.filter(scores.is_finite())
    marks = find_marks(scores.to_numpy())
    found = _marks(scores, marks)
    scores = scores.filter(~scores.is_in(list(marks)))
    shown = infer_score_range(scores.to_numpy())
    if scores.is_empty() or shown.ends == PUBLISHED:
        return found
    ends = f"{shown.ends[0]:.6g} to {shown.ends[1]:.6g}"
    use = f"are taken for a scale from {ends}" if shown.kind == "declared" else f"are fitted to 1 to 10 as {shown.kind}"
    sentence = f"{shown.because}: they {use}"
    remedy = (
        f"declare their range, e.g. data.score_range=[{ends.replace(' to ', ',')}], or choose a scale: scale=min_max"
    )
    return [*found, Finding("undeclared_range", "note", sentence, scores.len(), scores.len(), (), remedy)]


def _marks(scores: pl.Series, marks: Sequence[float]) -> list[Finding]:
    """Name numbers that stand for a missing score; `augment` rejects their rows."""
    if not marks:
        return []
    sentence = f"{describe_marks(scores.to_numpy(), marks)}: augment rejects these rows"
    remedy = "leave these completions out, or declare a range that holds such scores: data.score_range=[LOW,HIGH]"
    return [
        Finding("missing_marks", "warning", sentence, int(scores.is_in(list(marks)).sum()), scores.len(), (), remedy)
    ]


def _unmapped(gathered: _Gathered) -> list[Finding]:
    """One finding for each column that may belong to the question and plays no part."""
    sentence = "the column {!r} may belong to the question and plays no part, so that augment refuses these data"
    return [
        Finding(
            "unmapped_column",
            "error",
            sentence.format(name),
            counts["records"],
            gathered.records,
            (Example(counts["first"], f"the first record in which {name!r} holds something of its own"),),
            remedy_for(name, gathered.mapping),
        )
        for name, counts in gathered.unmapped.items()
    ]


def _slimmed(tables: Iterable[Table], known: pl.Series, gathered: _Gathered) -> Iterator[pl.DataFrame]:
    for table in tables:
        gathered.add(table)
        rows = slim(table)
        if known.len():
            hit = rows_with_grams(table.frame["prompt"], known, NGRAM)
            rows = rows.with_columns(pl.int_range(pl.len()).is_in(hit.implode()).alias(CONTAMINATED))
        yield rows


def _prompts(frame: pl.DataFrame) -> int:
    """How many different prompts; in goal pairs the texts differ by the goal, so that their ids are counted."""
    name = "prompt_key" if "view" in frame.columns else "prompt_hash"
    return frame[name].n_unique() if frame.height else 0


def _goals(frame: pl.DataFrame) -> Histogram | None:
    if "goal" in frame.columns:
        return histogram(frame["goal"])
    own = [frame[name].rename("goal") for name in ("score", "score_chosen", "score_rejected") if name in frame.columns]
    return histogram(pl.concat(own)) if own else None


def _views(frame: pl.DataFrame) -> dict[str, int]:
    if "view" not in frame.columns:
        return {}
    counts = {str(view): int(count) for view, count in frame["view"].value_counts().sort("view").iter_rows()}
    return {**counts, "flipped": int(frame["flipped"].sum() or 0)}


def _distinct(frame: pl.DataFrame) -> float | None:
    if "score_chosen" in frame.columns:
        differ = frame.select((pl.col("score_chosen") != pl.col("score_rejected")).mean()).item()
        return None if differ is None else float(differ)
    if "score" not in frame.columns or frame["score"].null_count() == frame.height:
        return None
    per_score = frame.drop_nulls("score").group_by("prompt_key", "score").agg(n=pl.len())
    equal = per_score.select(_pairs_of(pl.col("n")).sum()).item()
    per_prompt = per_score.group_by("prompt_key").agg(pl.col("n").sum())
    pairs = per_prompt.select(_pairs_of(pl.col("n")).sum()).item()
    return None if not pairs else 1.0 - float(equal) / float(pairs)


def _pairs_of(count: pl.Expr) -> pl.Expr:
    number = count.cast(pl.Float64)
    return number * (number - 1) / 2
