"""Every built-in benchmark; `prefboost.evaluation.protocols` tells how to add one."""

from __future__ import annotations

from prefboost.evaluation.academic.benchmark import AcademicSet
from prefboost.evaluation.alpaca.benchmark import AlpacaSet
from prefboost.evaluation.alpaca.pairwise import Pairwise
from prefboost.evaluation.arena_hard.benchmark import ArenaHard
from prefboost.evaluation.mt_bench.benchmark import MtBench
from prefboost.evaluation.protocols import JudgedBenchmark, MeasuredBenchmark
from prefboost.evaluation.reward_models.benchmark import RewardContest
from prefboost.settings import Settings

__all__ = ["BENCHMARKS", "BenchmarkSettings"]

BenchmarkSettings = JudgedBenchmark | MeasuredBenchmark
"""Entry of a list of benchmarks."""

BENCHMARKS: dict[str, type[Settings]] = {
    "academic": AcademicSet,
    "alpaca_eval": AlpacaSet,
    "arena_hard": ArenaHard,
    "mt_bench": MtBench,
    "pairwise": Pairwise,
    "reward_bench": RewardContest,
}
"""Built-in benchmarks, kind -> settings."""
