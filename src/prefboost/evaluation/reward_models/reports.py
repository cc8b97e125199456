"""Report of a scorer on a file of pairs or a reward-model benchmark, and rows to compare scorers by."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from prefboost.chat import join_text
from prefboost.evaluation.benchmark import MISSING_ALLOWED, is_withheld
from prefboost.evaluation.reward_models.accuracy import (
    AccuracyReport,
    RewardAccuracy,
    mark_right_pairs,
    measure_batch_change,
    report_accuracy,
)
from prefboost.evaluation.reward_models.scores import estimate_bench_figures, score_item
from prefboost.evaluation.reward_models.sets import RewardSet, collect_items, read_bench_rows, read_reward_set
from prefboost.scoring.judges.verdicts import check_pairs
from prefboost.scoring.scorer import Scorer
from prefboost.settings import Settings
from prefboost.sources import Columns, read
from prefboost.statistics import Interval
from prefboost.tables import Table

__all__ = ["BenchReport", "RewardReport", "RewardOutcome", "report_rewards"]

ScoreTable = Callable[[Table], Table]
"""Scores a table; it decides whether and where finished scores are stored."""


@dataclass(frozen=True)
class BenchReport:
    """Figures of a reward-model benchmark.

    Args:
        bench: rewardbench, rewardbench2 or rm_bench.
        figures: subset, section, domain, overall -> share, 0..1; None where too many prompts have no scores.
        prompts: number of all prompts.
        missing: reason -> prompts of which a completion has no score.
        batch_change: greatest change of a score in other batches, in standard deviations of the scores; None: unknown.
    """

    bench: str
    figures: Mapping[str, Interval] | None
    prompts: int
    missing: Mapping[str, int]
    batch_change: float | None = None

    def record(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)

    def lines(self) -> Iterator[str]:
        """Yield the printed report, line by line."""
        yield f"{self.bench}: {self.prompts - sum(self.missing.values()):,} of {self.prompts:,} prompts scored"
        for name, interval in (self.figures or {}).items():
            yield f"  {name:<24} {interval}"
        for reason, count in self.missing.items():
            yield f"{count:,} without scores: {reason}"
        if self.figures is None:
            share = f"more than {MISSING_ALLOWED:.0%} of the prompts"
            yield f"note: {share} have no scores: figures are withheld (allow_missing)"
        if self.batch_change is not None and self.batch_change > 0.01:
            yield f"note: scores depend on the batch: they move by {self.batch_change:.3f} deviations of the scores"


RewardReport = AccuracyReport | BenchReport


@dataclass(frozen=True)
class RewardOutcome:
    """Report on a file, and its rows.

    Args:
        report: figures.
        shares: pair or prompt -> its share of right comparisons, 0..1; those without scores are absent.
        unscored: pairs or prompts without scores.
    """

    report: RewardReport
    shares: Mapping[str, float]
    unscored: tuple[str, ...]


def report_rewards(
    source: str | Path | Table,
    scorer: Scorer,
    score: ScoreTable,
    settings: RewardAccuracy,
    *,
    columns: Columns | None = None,
    limit: int | None = None,
) -> RewardOutcome:
    """Score pairs, or a benchmark's completions, and report how often the preferred completion scores higher.

    Args:
        source: PreferencePairs or anything that `read` takes; files shaped like RewardBench 1 and 2 and RM-Bench give
            the published figures.
        scorer: the scorer; it scores some rows again for the check of batches.
        score: scores the whole table.
        settings: ties, slices, intervals, number of rows that are scored again.
        columns: columns of the file, where they are not guessed right.
        limit: take the first pairs or prompts only.

    Raises:
        DataError: the source holds no pairs, or none could be scored.
        ModelError: a model cannot be loaded.
    """
    bench = None if isinstance(source, Table) else read_reward_set(source)
    if bench is not None:
        return _report_bench(bench if limit is None else bench.first(limit), scorer, score, settings)
    pairs = source if isinstance(source, Table) else read(source, columns=columns or Columns())
    check_pairs(pairs, "accuracy")
    first = None
    guess = pairs.steps[0].notes.get("guess", {}) if pairs.steps else {}
    if not isinstance(source, Table) and guess.get("shape") == "preference" and (records := read_bench_rows(source)):
        # A file of two columns and a label says which completion is listed first.
        rows = pairs.frame.select("pair_id", "row", "chosen").iter_rows()
        first = {name: join_text(chosen) == str(records[row].get(guess["first"])) for name, row, chosen in rows}
    pairs = pairs if limit is None else replace(pairs, frame=pairs.frame.head(limit))
    scored = score(pairs)
    change = measure_batch_change(pairs, scored, scorer, settings.batch_check) if settings.batch_check else None
    report = report_accuracy(pairs, scored, settings, chosen_first=first, batch_change=change)
    shares = mark_right_pairs(pairs, scored, settings)
    return RewardOutcome(report, shares, tuple(name for name in pairs.frame["pair_id"] if name not in shares))


def _report_bench(bench: RewardSet, scorer: Scorer, score: ScoreTable, settings: RewardAccuracy) -> RewardOutcome:
    scored = score(bench.table)
    items, missing = collect_items(bench, scored)
    withheld = is_withheld(sum(missing.values()), len(bench.items), allow_missing=settings.allow_missing)
    figures = None if withheld else estimate_bench_figures(bench.bench, items, how=settings.interval)
    change = None
    # A scorer without batches cannot depend on them, and is not called again.
    if settings.batch_check and hasattr(scorer, "batch_tokens") and isinstance(scorer, Settings):
        few = replace(bench.table, frame=bench.table.frame.head(settings.batch_check))
        alone = scorer.model_copy(update={"batch_tokens": 1}).score(few).frame.select("completion_id", "score")
        both = scored.frame.select("completion_id", "score").join(alone, on="completion_id", suffix="_alone")
        if both.height >= 2:
            change = float(np.max(np.abs((both["score"] - both["score_alone"]).to_numpy())))
            spread = float(np.std(both["score"].to_numpy()))
            change = change / spread if spread > 0 else change
    report = BenchReport(bench.bench, figures, len(bench.items), missing, change)
    shares = {f"{item.subset}/{item.item_id}": score_item(bench.bench, item) for item in items}
    names = [f"{subset}/{item_id}" for item_id, subset, *_ in bench.items]
    return RewardOutcome(report, shares, tuple(name for name in names if name not in shares))
