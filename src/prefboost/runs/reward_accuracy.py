"""`reward_accuracy`: how often a scorer prefers what was preferred, on pairs or on a reward-model benchmark's file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from prefboost.chat import join_text
from prefboost.errors import DataError
from prefboost.evaluation.reward_accuracy import TOLD, AccuracyReport, RewardAccuracy, accuracy_report, batch_difference
from prefboost.evaluation.reward_benchmarks import bench_figures
from prefboost.evaluation.reward_sets import RewardSet, read_records, read_reward_set, scored_items
from prefboost.runs.score import score
from prefboost.scoring.scorer import SCORERS, Scorer
from prefboost.scoring.stored import Tell
from prefboost.settings import Settings, choice
from prefboost.sources import Columns, read
from prefboost.statistics import Interval
from prefboost.tables import PREFERENCE_PAIRS, Table

__all__ = ["BenchReport", "Measuring", "reward_accuracy"]


class Measuring(Settings):
    """Who scores, how the file is read, and how its accuracy is reported."""

    scorer: Annotated[Scorer, choice(SCORERS)] = Field(description="What gives the scores.")
    columns: Columns = Field(Columns(), description="Columns of the file, where they are not guessed right.")
    report: RewardAccuracy = Field(RewardAccuracy(), description="Ties, slices, intervals.")


@dataclass(frozen=True)
class BenchReport:
    """Figures of a reward-model benchmark.

    Args:
        bench: rewardbench, rewardbench2 or rm_bench.
        figures: subset, section, domain, overall -> share, 0..1; None where too many prompts have no scores.
        prompts: all of them.
        missing: reason -> prompts of which a completion has no score.
    """

    bench: str
    figures: Mapping[str, Interval] | None
    prompts: int
    missing: Mapping[str, int]

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


NO_SETTINGS = RewardAccuracy()


def reward_accuracy(
    source: str | Path | Table,
    scorer: Scorer,
    settings: RewardAccuracy = NO_SETTINGS,
    out: str | Path | None = None,
    *,
    columns: Columns | None = None,
    progress: Tell = lambda _: None,
) -> AccuracyReport | BenchReport:
    """Score pairs, or a benchmark's completions, and say how often the preferred one scores higher.

    Args:
        source: PreferencePairs or anything that `read` takes; files shaped like RewardBench 1 and 2 and RM-Bench give
            the published figures.
        scorer: of `prefboost.scoring`, or anyone's.
        settings: ties, slices, intervals.
        out: ``.json`` file to write the report to; scores lie beside it in ``OUT.scores.parquet``, and while they are
            being made the same call after an interruption goes on from there.
        columns: columns of the file, where they are not guessed right.
        progress: called after every batch.

    Raises:
        DataError: the source holds no pairs, or none could be scored.
        ModelError: a model cannot be loaded.
        RunError: another process is writing the same output.
    """
    target = None if out is None else Path(out)
    if target is not None and target.suffix != ".json":
        raise DataError(f"the report is written as JSON, found {target.name}", remedy="name a file that ends in .json")
    bench = None if isinstance(source, Table) else read_reward_set(source)
    report = (
        _on_bench(bench, scorer, settings, target, progress)
        if bench is not None
        else _on_pairs(source, _pairs(source, columns), (scorer, settings), target, progress)
    )
    if target is not None:
        waiting = target.with_name(f".{target.name}.partial")
        waiting.write_text(json.dumps(report.record(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        waiting.replace(target)
    return report


def _pairs(source: str | Path | Table, columns: Columns | None) -> Table:
    table = source if isinstance(source, Table) else read(source, columns=columns or Columns())
    if table.spec is not PREFERENCE_PAIRS:
        raise DataError(
            f"accuracy is that of PreferencePairs, found {table.spec.name}",
            remedy="give a file of pairs, or pair the completions first",
        )
    return table


def _on_pairs(
    source: str | Path | Table,
    pairs: Table,
    by: tuple[Scorer, RewardAccuracy],
    target: Path | None,
    progress: Tell,
) -> AccuracyReport:
    scorer, settings = by
    scored = score(pairs, scorer, _scores_file(target), progress=progress)
    change = batch_difference(pairs, scored, scorer, settings.batch_check) if settings.batch_check else None
    first = None if isinstance(source, Table) else _chosen_first(source, pairs)
    return accuracy_report(pairs, scored, settings, chosen_first=first, batch_change=change)


def _chosen_first(source: str | Path, pairs: Table) -> dict[str, bool] | None:
    """pair_id -> whether the chosen completion stands first, where a file holds two side by side and a label."""
    guess = pairs.steps[0].notes.get("guess", {}) if pairs.steps else {}
    records = read_records(source) if guess.get("shape") == "preference" else []
    if not records:
        return None
    stood = pairs.frame.select("pair_id", "row", "chosen").iter_rows()
    return {name: join_text(chosen) == str(records[row].get(guess["first"])) for name, row, chosen in stood}


def _on_bench(
    bench: RewardSet, scorer: Scorer, settings: RewardAccuracy, target: Path | None, progress: Tell
) -> BenchReport:
    scored = score(bench.table, scorer, _scores_file(target), progress=progress)
    items, missing = scored_items(bench, scored)
    withheld = sum(missing.values()) > TOLD * len(bench.items) and not settings.allow_missing
    figures = None if withheld else bench_figures(bench.bench, items, how=settings.interval)
    return BenchReport(bench.bench, figures, len(bench.items), missing)


def _scores_file(target: Path | None) -> Path | None:
    return None if target is None else target.with_suffix(".scores.parquet")
