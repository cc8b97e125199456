"""Interface of a benchmark to `prefboost evaluate`: settings with a ``kind``, listed in `prefboost.evaluation.kinds`.

There are two sorts of benchmarks, told apart by the one method that their settings have:

* ``prepare`` (`JudgedBenchmark`): models complete its prompts and a judge rates the completions. It names the prompts,
  the completions that exist already (a baseline's) and the sampling, and gives the three pure functions ``build``,
  ``parse`` and ``score`` of `prefboost.evaluation.benchmark.Benchmark`. The runner does the rest: asking models turn by
  turn, goals, store, judge, budget, progress, forecast, alarms and files.
* ``measure`` (`MeasuredBenchmark`): no judge. It asks the models itself (lm-evaluation-harness, scores of a reward
  model) and returns results.

To add one, write a settings class with ``kind: Literal["name"]`` and either method, and list it in
`prefboost.evaluation.kinds.BENCHMARKS`. Its settings are then written as ``name.setting=value`` on the command line,
and ``limit``, ``--offline`` and ``--data-dir`` work.
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
from prefboost.progress import Tell

__all__ = [
    "BenchmarkOutcome",
    "CheckedBenchmark",
    "Completions",
    "Contestant",
    "JudgedBenchmark",
    "MeasuredBenchmark",
    "PreparedBenchmark",
    "choose_likeliest_tokens",
]

Completions = Mapping[str, Sequence[str]]
"""uid of a prompt -> one model's completions, turn by turn."""


def choose_likeliest_tokens(prompt: BenchmarkPrompt) -> Sampling:
    """Return greedy sampling of at most 2048 tokens for any prompt."""
    return Sampling(temperature=0.0, top_p=1.0, max_tokens=2048)


@dataclass(frozen=True)
class PreparedBenchmark:
    """A judged benchmark with its data.

    Args:
        benchmark: build, parse and score.
        prompts: all prompts; the runner takes the first ones where there is a limit. A prompt of several turns is asked
            turn by turn, each after the model's own completions of the earlier ones.
        given: model -> completions that exist already, such as a baseline's. Models of the run are not listed here.
        sampling: prompt -> sampling, where the run's settings name none.
    """

    benchmark: Benchmark
    prompts: Sequence[BenchmarkPrompt]
    given: Mapping[str, Completions] = field(default_factory=dict)
    sampling: Callable[[BenchmarkPrompt], Sampling] = choose_likeliest_tokens


@dataclass(frozen=True)
class BenchmarkOutcome:
    """Outcome of a measured benchmark.

    Args:
        results: figures of every contestant.
        verdicts: one row per question and contestant, 0..1, for comparisons question by question; the fact ``group``
            names what is compared separately.
    """

    results: Results
    verdicts: Sequence[JudgeVerdict] = ()


@dataclass(frozen=True)
class Contestant:
    """A model, asked for one goal or none.

    Args:
        name: name in verdicts and results: the model's name, and ``@GOAL`` where there is a goal.
        engine: settings that open it; a measured benchmark that needs the weights takes ``engine.model``.
        goal: overall score to ask for; None says nothing beyond what the chat template says itself.
        say: wording and place of the goal where the chat template does not say it itself.
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
        """Name of the benchmark."""

    def prepare(self, assets: Assets, models: Sequence[str]) -> PreparedBenchmark:
        """Read the benchmark's data; ask no model and no judge.

        Args:
            assets: locations of published prompts, baselines and references (``assets.path(name)``); they are fetched
                only where that is allowed.
            models: names of the contestants in the order given; one of them may be the baseline.

        Raises:
            DataError: data are absent and may not be fetched, or a file cannot be used.
            SettingsError: the named baseline does not exist.
        """


@runtime_checkable
class CheckedBenchmark(Protocol):
    """Settings of a benchmark that does not take every model."""

    def check_contestants(self, contestants: Sequence[Contestant]) -> None:
        """Check, without loading anything, that all of them can be measured.

        Raises:
            SettingsError: one cannot, or not where the command runs.
        """


@runtime_checkable
class MeasuredBenchmark(Protocol):
    """Settings of a benchmark that needs no judge."""

    @property
    def kind(self) -> str:
        """Name of the benchmark."""

    def measure(
        self,
        contestants: Sequence[Contestant],
        assets: Assets,
        *,
        folder: Path,
        limit: int | None = None,
        tell: Tell = lambda _: None,
    ) -> BenchmarkOutcome:
        """Measure every contestant.

        Args:
            contestants: models to measure; their names are the models of the results.
            assets: locations of the benchmark's data.
            folder: folder of the benchmark for logs and for what lets the same call resume.
            limit: rows of each task; none takes all.
            tell: is called when a part begins, and with its state while it runs.

        Raises:
            ModelError: the goal does not occur in every rendered prompt.
        """
