"""`inspect`: what is in preference data, measured in one streaming pass."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from prefboost.diagnosis.lints import LINTS, Finding
from prefboost.diagnosis.slim import SIDES, slim
from prefboost.preferences.ngrams import ngram_hashes
from prefboost.preferences.select import prompt_text
from prefboost.sources import Columns, Source, read_batches
from prefboost.tables import Table, aspects_of

__all__ = ["Histogram", "Inspection", "Lengths", "ScoreSummary", "inspect"]

_BINS = 10
_EXAMPLES = 5
_NGRAM = 13


@dataclass(frozen=True)
class Histogram:
    """Counts between rising edges; the last bin includes its upper edge."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class ScoreSummary:
    """Scores of one column: how many, how many missing, range, mean, and their histogram."""

    count: int
    missing: int
    low: float
    high: float
    mean: float
    histogram: Histogram


@dataclass(frozen=True)
class Lengths:
    """Characters: mean and quantiles (5 %, 50 %, 95 %, 100 %)."""

    mean: float
    p5: float
    p50: float
    p95: float
    most: float


@dataclass(frozen=True)
class Inspection:
    """What was found; `as_dict` is the document that ``--json`` prints.

    Args:
        path: the source.
        table: which declared table it was read as.
        rows: rows of that table; ``records`` of the file and ``prompts`` beside it.
        mapping: what each column was taken for.
        scores: score column -> summary; aspects as ``score.aspect``.
        lengths: prompt, completion, chosen, rejected -> characters.
        goals: how the goals that a pair would be asked for (its own two scores) spread; None without scores.
        distinct: share of pairs whose two scores differ.
        rejects: reason -> count; ``reject_rows`` holds the first of each.
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
    goals: Histogram | None
    distinct: float | None
    rejects: Mapping[str, int]
    reject_rows: Mapping[str, tuple[int, ...]]
    findings: tuple[Finding, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return dataclasses.asdict(self)


def inspect(
    source: str | Path | Source | Table, *, columns: Columns | None = None, against: Iterable[str] = ()
) -> Inspection:
    """Measure a source.

    Args:
        source: as for `read`, or a table.
        columns: as for `read`.
        against: texts of a benchmark; prompts that share a run of 13 words with one are a finding.

    Raises:
        DataError: as `read`.
    """
    tables = iter([source]) if isinstance(source, Table) else read_batches(source, columns=columns or Columns())
    known = ngram_hashes(pl.Series(list(against), dtype=pl.String), _NGRAM)["gram"]
    gathered = _Gathered()
    kept = list(_slimmed(tables, known, gathered))
    frame = pl.concat(kept, how="diagonal_relaxed") if kept else pl.DataFrame()
    findings = [finding for lint in LINTS.values() if frame.height and (finding := lint(frame)) is not None]
    if known.len():
        contaminated = _contamination(frame)
        findings += [] if contaminated is None else [contaminated]
    names = _score_names(frame)
    own = [pl.col(name) for name in ("score", "score_chosen", "score_rejected") if name in names]
    goals = pl.concat([frame.select(column.alias("goal")) for column in own])["goal"].drop_nulls() if own else None
    return Inspection(
        path=str(source) if isinstance(source, str | Path) else str(getattr(source, "path", "")),
        table=gathered.table,
        rows=frame.height,
        records=gathered.records,
        prompts=frame["prompt_hash"].n_unique() if frame.height else 0,
        mapping=gathered.mapping,
        scores={name: found for name in names if (found := _summary(frame[name])) is not None},
        lengths={side: _lengths(frame[f"{side}_chars"]) for side in ("prompt", *SIDES) if f"{side}_chars" in frame},
        goals=None if goals is None or goals.is_empty() else _histogram(goals),
        distinct=_distinct(frame),
        rejects=dict(gathered.rejects),
        reject_rows={reason: tuple(rows) for reason, rows in gathered.reject_rows.items()},
        findings=tuple(findings),
    )


@dataclass
class _Gathered:
    """What batches leave behind besides their slim rows."""

    table: str = "nothing"
    records: int = 0
    mapping: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    rejects: Counter[str] = dataclasses.field(default_factory=Counter)
    reject_rows: dict[str, list[int]] = dataclasses.field(default_factory=dict)


def _slimmed(tables: Iterable[Table], known: pl.Series, gathered: _Gathered) -> Iterator[pl.DataFrame]:
    for table in tables:
        gathered.table = table.spec.name
        for step in table.steps:
            if step.verb == "read":
                gathered.records += int(step.notes.get("records", step.rows_in))
                gathered.mapping = step.notes.get("guess", {})
        for reason, row in table.rejects.select("reason", "row").iter_rows():
            gathered.rejects[reason] += 1
            rows = gathered.reject_rows.setdefault(reason, [])
            if len(rows) < _EXAMPLES and row is not None:
                rows.append(row)
        rows_seen = slim(table)
        if known.len():
            grams = ngram_hashes(table.frame.select(text=prompt_text())["text"], _NGRAM)
            hit = grams.filter(pl.col("gram").is_in(known.implode()))["at"].unique()
            rows_seen = rows_seen.with_row_index("_at").with_columns(contaminated=pl.col("_at").is_in(hit.implode()))
            rows_seen = rows_seen.drop("_at")
        yield rows_seen


def _contamination(frame: pl.DataFrame) -> Finding | None:
    hit = frame.filter(pl.col("contaminated")) if frame.height else frame
    if hit.is_empty():
        return None
    return Finding(
        "contamination",
        "error",
        f"the prompt shares a run of {_NGRAM} words (or all of a shorter text) with the benchmark",
        hit.height,
        frame.height,
        tuple(hit["row"].head(_EXAMPLES).to_list()),
        "preferences.decontaminate leaves such prompts out",
    )


def _score_names(frame: pl.DataFrame) -> list[str]:
    families = [name for name in ("score", "score_chosen", "score_rejected") if name in frame.columns]
    return families + [f"{name}.{aspect}" for name in families for aspect in aspects_of(frame.schema, name)]


def _histogram(values: pl.Series) -> Histogram:
    low, high = float(str(values.min())), float(str(values.max()))
    width = (high - low) / _BINS or 1.0
    edges = tuple(low + width * step for step in range(_BINS + 1))
    bins = ((values - low) / width).floor().clip(0, _BINS - 1).cast(pl.Int64)
    counted = dict(bins.value_counts().iter_rows())
    return Histogram(edges, tuple(int(counted.get(step, 0)) for step in range(_BINS)))


def _summary(values: pl.Series) -> ScoreSummary | None:
    known = values.drop_nulls()
    if known.is_empty():
        return None
    low, high, mean = (float(str(found)) for found in (known.min(), known.max(), known.mean()))
    return ScoreSummary(known.len(), values.null_count(), low, high, mean, _histogram(known))


def _lengths(chars: pl.Series) -> Lengths:
    marks = [chars.quantile(share, "nearest") for share in (0.05, 0.5, 0.95, 1.0)]
    return Lengths(float(str(chars.mean() or 0.0)), *[float(mark or 0.0) for mark in marks])


def _distinct(frame: pl.DataFrame) -> float | None:
    if "score_chosen" in frame.columns:
        differ = frame.select((pl.col("score_chosen") != pl.col("score_rejected")).mean()).item()
        return None if differ is None else float(differ)
    if "score" not in frame.columns or frame["score"].null_count() == frame.height:
        return None
    per_prompt = frame.drop_nulls("score").group_by("prompt_id").agg(n=pl.len(), kinds=pl.col("score").value_counts())
    equal = pl.col("kinds").list.eval(_pairs_of(pl.element().struct.field("count"))).list.sum()
    sums = per_prompt.select(all=_pairs_of(pl.col("n")).sum(), equal=equal.sum()).row(0, named=True)
    return None if not sums["all"] else 1.0 - float(sums["equal"]) / float(sums["all"])


def _pairs_of(count: pl.Expr) -> pl.Expr:
    number = count.cast(pl.Float64)
    return number * (number - 1) / 2
