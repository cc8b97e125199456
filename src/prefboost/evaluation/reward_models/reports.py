"""From a file of pairs or of a reward-model benchmark and anything that scores it to a report and rows to compare."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from prefboost.chat import join_text
from prefboost.errors import DataError
from prefboost.evaluation.reward_models.accuracy import (
    TOLD,
    AccuracyReport,
    RewardAccuracy,
    accuracy_report,
    batch_difference,
    rights_of,
)
from prefboost.evaluation.reward_models.scores import bench_figures, item_share
from prefboost.evaluation.reward_models.sets import RewardSet, read_records, read_reward_set, scored_items
from prefboost.scoring.scorer import Scorer
from prefboost.settings import Settings
from prefboost.sources import Columns, read
from prefboost.statistics import Interval
from prefboost.tables import PREFERENCE_PAIRS, Table

__all__ = ["BenchReport", "RewardReport", "Scored", "reward_report"]

ScoreTable = Callable[[Table], Table]
"""Scores a table; where and whether finished scores are kept is its affair."""


@dataclass(frozen=True)
class BenchReport:
    """Figures of a reward-model benchmark.

    Args:
        bench: rewardbench, rewardbench2 or rm_bench.
        figures: subset, section, domain, overall -> share, 0..1; None where too many prompts have no scores.
        prompts: all of them.
        missing: reason -> prompts of which a completion has no score.
        batch_change: greatest change of a score in other batches, in deviations of the scores; None: not looked at.
    """

    bench: str
    figures: Mapping[str, Interval] | None
    prompts: int
    missing: Mapping[str, int]
    batch_change: float | None = None

    def record(self) -> dict[str, Any]:
        """As JSON takes it."""
        return asdict(self)

    def lines(self) -> Iterator[str]:
        """As it is printed."""
        yield f"{self.bench}: {self.prompts - sum(self.missing.values()):,} of {self.prompts:,} prompts scored"
        for name, interval in (self.figures or {}).items():
            yield f"  {name:<24} {interval}"
        for reason, count in self.missing.items():
            yield f"{count:,} without scores: {reason}"
        if self.figures is None:
            yield f"note: more than {TOLD:.0%} of the prompts have no scores: figures are withheld (allow_missing)"
        if self.batch_change is not None and self.batch_change > 0.01:
            yield f"note: scores depend on the batch: they move by {self.batch_change:.3f} deviations of the scores"


RewardReport = AccuracyReport | BenchReport


@dataclass(frozen=True)
class Scored:
    """What came of a file.

    Args:
        report: figures.
        shares: pair or prompt -> share of it that was put right, 0..1; those without scores are not in it.
        unscored: pairs or prompts without scores.
    """

    report: RewardReport
    shares: Mapping[str, float]
    unscored: tuple[str, ...]


def reward_report(
    source: str | Path | Table,
    scorer: Scorer,
    score: ScoreTable,
    settings: RewardAccuracy,
    *,
    columns: Columns | None = None,
    limit: int | None = None,
) -> Scored:
    """Score pairs, or a benchmark's completions, and say how often the preferred one scores higher.

    Args:
        source: PreferencePairs or anything that `read` takes; files shaped like RewardBench 1 and 2 and RM-Bench give
            the published figures.
        scorer: who scores; asked once more for the check of batches.
        score: scores the whole.
        settings: ties, slices, intervals, how many are scored once more.
        columns: columns of the file, where they are not guessed right.
        limit: take the first pairs or prompts only.

    Raises:
        DataError: the source holds no pairs, or none could be scored.
        ModelError: a model cannot be loaded.
    """
    bench = None if isinstance(source, Table) else read_reward_set(source)
    if bench is not None:
        return _on_bench(bench if limit is None else bench.first(limit), scorer, score, settings)
    pairs = _pairs(source, columns)
    first = None if isinstance(source, Table) else _chosen_first(source, pairs)
    pairs = pairs if limit is None else replace(pairs, frame=pairs.frame.head(limit))
    scored = score(pairs)
    change = batch_difference(pairs, scored, scorer, settings.batch_check) if settings.batch_check else None
    report = accuracy_report(pairs, scored, settings, chosen_first=first, batch_change=change)
    shares = rights_of(pairs, scored, settings)
    return Scored(report, shares, tuple(name for name in pairs.frame["pair_id"] if name not in shares))


def _pairs(source: str | Path | Table, columns: Columns | None) -> Table:
    table = source if isinstance(source, Table) else read(source, columns=columns or Columns())
    if table.spec is not PREFERENCE_PAIRS:
        raise DataError(
            f"accuracy is that of PreferencePairs, found {table.spec.name}",
            remedy="give a file of pairs, or pair the completions first",
        )
    return table


def _chosen_first(source: str | Path, pairs: Table) -> dict[str, bool] | None:
    """pair_id -> whether the chosen completion stands first, where a file holds two side by side and a label."""
    guess = pairs.steps[0].notes.get("guess", {}) if pairs.steps else {}
    records = read_records(source) if guess.get("shape") == "preference" else []
    if not records:
        return None
    stood = pairs.frame.select("pair_id", "row", "chosen").iter_rows()
    return {name: join_text(chosen) == str(records[row].get(guess["first"])) for name, row, chosen in stood}


def _on_bench(bench: RewardSet, scorer: Scorer, score: ScoreTable, settings: RewardAccuracy) -> Scored:
    scored = score(bench.table)
    items, missing = scored_items(bench, scored)
    withheld = sum(missing.values()) > TOLD * len(bench.items) and not settings.allow_missing
    figures = None if withheld else bench_figures(bench.bench, items, how=settings.interval)
    change = _completions_alone(bench.table, scored, scorer, settings.batch_check)
    report = BenchReport(bench.bench, figures, len(bench.items), missing, change)
    shares = {f"{item.subset}/{item.item_id}": item_share(bench.bench, item) for item in items}
    names = [f"{subset}/{item_id}" for item_id, subset, *_ in bench.items]
    return Scored(report, shares, tuple(name for name in names if name not in shares))


def _completions_alone(table: Table, scored: Table, scorer: Scorer, count: int) -> float | None:
    """Greatest change of a score in deviations of the scores, where completions of some prompts are scored each alone.

    A scorer without batches of its own gives the same score by its nature, and is not asked again.
    """
    if not count or not (hasattr(scorer, "batch_tokens") and isinstance(scorer, Settings)):
        return None
    few = replace(table, frame=table.frame.head(count))
    alone = scorer.model_copy(update={"batch_tokens": 1}).score(few).frame
    both = scored.frame.select("completion_id", "score").join(
        alone.select("completion_id", "score"), on="completion_id", suffix="_alone"
    )
    if both.height < 2:
        return None
    change = float(np.max(np.abs((both["score"] - both["score_alone"]).to_numpy())))
    spread = float(np.std(both["score"].to_numpy()))
    return change / spread if spread > 0 else change
