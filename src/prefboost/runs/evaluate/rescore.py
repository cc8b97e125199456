"""Stored verdicts scored again, without a model or a judge."""

from __future__ import annotations

from pathlib import Path

from prefboost.errors import SettingsError
from prefboost.evaluation.alpaca.benchmark import AlpacaSet
from prefboost.evaluation.alpaca.judging import AlpacaEval
from prefboost.evaluation.arena_hard.benchmark import ArenaHard
from prefboost.evaluation.benchmark import Benchmark
from prefboost.evaluation.mt_bench.benchmark import MtBench
from prefboost.evaluation.protocols import MeasuredBenchmark
from prefboost.evaluation.results import Results
from prefboost.runs.evaluate.evaluate import guard_evaluation, read_judge_verdicts, write_evaluation
from prefboost.runs.evaluate.settings import Evaluate

__all__ = ["rescore_verdicts"]


def rescore_verdicts(settings: Evaluate, verdicts: str | Path, out: str | Path) -> Results:
    """Score verdicts of a file, and write them with the results.

    Args:
        settings: one benchmark; AlpacaEval takes published difficulties where its data are in ``assets.data_dir`` or
            may be fetched, else its minimal form, and the results say so.
        verdicts: JSON lines as `evaluate` writes them.
        out: the folder to write.

    Raises:
        SettingsError: several benchmarks are named, or one that has no verdicts, or `exports`.
        RunError: the folder lies around the verdicts, or holds results that `evaluate` did not write.
        DataError: a line is no verdict, or the benchmark's data are not here.
    """
    guard_evaluation(Path(out), [verdicts, settings])
    if settings.exports:
        raise SettingsError(
            "exports hold completions, and verdicts have none",
            remedy="evaluate the models again into their folder: what is in its store is not asked for",
        )
    stored = read_judge_verdicts(verdicts)
    benchmark, assets = settings.benchmarks[0], settings.assets
    if len(settings.benchmarks) > 1 or isinstance(benchmark, MeasuredBenchmark):
        raise SettingsError("verdicts belong to one benchmark with a judge", remedy="name it alone in benchmarks=[...]")
    bare = assets.data_dir is None and (assets.offline or not assets.download)
    scored: Benchmark
    if isinstance(benchmark, AlpacaSet) and bare and benchmark.prompts is None:
        scored = AlpacaEval(benchmark.rules, benchmark.baseline or "baseline")
    elif isinstance(benchmark, ArenaHard | MtBench):
        scored = benchmark  # it needs none of its data to score
    else:
        models = list(dict.fromkeys(verdict.model for verdict in stored))
        scored = benchmark.prepare(assets, models).benchmark
    results = scored.score(stored, allow_missing=settings.allow_missing)
    write_evaluation(out, stored, results)
    return results
