"""How a benchmark enters `prefboost evaluate`: settings with a ``kind``, entered in `prefboost.evaluation.kinds`.

A benchmark is of one of two sorts, by the one method that its settings have:

* ``prepare`` (`JudgedBenchmark`): models complete its prompts and a judge rates what they say. It says which prompts
  there are, which completions are known beforehand (a baseline's), how completions are drawn, and gives the three
  pure functions ``build``, ``parse`` and ``score`` of `prefboost.evaluation.benchmark.Benchmark`. Asking models turn by
  turn, goals, store, judge, budget, progress, forecast, alarms over equal completions and writing are the runner's.
* ``measure`` (`MeasuredBenchmark`): no judge. It asks the models itself (lm-evaluation-harness, scores of a reward
  model) and gives results.

A new one is a settings class with ``kind: Literal["name"]`` and either method, and one line in
`prefboost.evaluation.kinds.BENCHMARKS`; every one of its settings can then be written as ``name.setting=value`` on the
command line, and ``limit``, ``--offline`` and ``--data-dir`` work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from prefboost.chat import SayGoal
from prefboost.engines.engine import Sampling
from prefboost.engines.kinds import EngineSettings
from prefboost.evaluation.assets import Assets
from prefboost.evaluation.benchmark import Benchmark, BenchmarkPrompt, JudgeVerdict
from prefboost.evaluation.results import Results

__all__ = ["Completions", "Contestant", "JudgedBenchmark", "Measured", "MeasuredBenchmark", "Prepared", "greedy"]

Completions = Mapping[str, Sequence[str]]
"""uid of a prompt -> what one model said, turn by turn."""


def greedy(prompt: BenchmarkPrompt) -> Sampling:
    """The likeliest tokens, at most 2048 of them, whatever the prompt."""
    return Sampling(temperature=0.0, top_p=1.0, max_tokens=2048)


@dataclass(frozen=True)
class Prepared:
    """A judged benchmark with its data.

    Args:
        benchmark: build, parse and score.
        prompts: all of them; the runner takes the first so many where there is a limit. A prompt of several turns is
            asked turn by turn, each with the model's own completions of the earlier ones before it.
        given: model -> its completions, known beforehand: a baseline's. Models of the run need no place here.
        sampling: how a prompt's completions are drawn, where the run's settings do not say otherwise.
    """

    benchmark: Benchmark
    prompts: Sequence[BenchmarkPrompt]
    given: Mapping[str, Completions] = field(default_factory=dict)
    sampling: Callable[[BenchmarkPrompt], Sampling] = greedy


@dataclass(frozen=True)
class Measured:
    """What a measured benchmark found.

    Args:
        results: figures of every contestant.
        verdicts: a row a question and contestant, 0..1, for comparisons question by question; the fact ``group`` names
            what is compared by itself.
    """

    results: Results
    verdicts: Sequence[JudgeVerdict] = ()


@dataclass(frozen=True)
class Contestant:
    """A model, asked for one goal or none.

    Args:
        name: as it stands in verdicts and results: the model's name, and ``@GOAL`` where there is a goal.
        engine: settings that open it; a measured benchmark that needs the weights takes ``engine.model``.
        goal: the overall score that is asked for; None: nothing is said beyond what the chat template says by itself.
        say: how the goal is said where the chat template does not say it by itself.
    """

    name: str
    engine: EngineSettings
    goal: float | None = None
    say: SayGoal = field(default_factory=SayGoal)


@runtime_checkable
class JudgedBenchmark(Protocol):
    """Settings of a benchmark in which a judge rates completions."""

    @property
    def kind(self) -> str:
        """Its name."""

    def prepare(self, assets: Assets, models: Sequence[str]) -> Prepared:
        """Read its data; asks no model and no judge.

        Args:
            assets: where published prompts, baselines and references are (``assets.path(name)``); fetched only where
                that is allowed.
            models: names of the contestants, in the order in which they were given; one of them may be the baseline.

        Raises:
            DataError: data are not here and may not be fetched, or a file cannot be used.
            SettingsError: a baseline is named that is nowhere.
        """


@runtime_checkable
class MeasuredBenchmark(Protocol):
    """Settings of a benchmark that needs no judge."""

    @property
    def kind(self) -> str:
        """Its name."""

    def measure(
        self,
        contestants: Sequence[Contestant],
        assets: Assets,
        *,
        folder: Path,
        limit: int | None = None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> Measured:
        """Measure every contestant.

        Args:
            contestants: whom; their names are the models of the results.
            assets: where its data are.
            folder: its own: logs, and what lets the same call go on where it stopped.
            limit: rows of each task; none takes all.
            tell: is told what begins, in words.

        Raises:
            ModelError: the goal does not stand in every rendered prompt.
        """
