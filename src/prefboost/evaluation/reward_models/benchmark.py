"""Benchmarks of reward models as `prefboost evaluate` runs them: RewardBench 1 and 2, RM-Bench, files of pairs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from prefboost.engines.call_session import CallSession
from prefboost.engines.store.opening import open_store
from prefboost.errors import SettingsError
from prefboost.evaluation.assets import Assets
from prefboost.evaluation.benchmark import JudgeVerdict
from prefboost.evaluation.protocols import BenchmarkOutcome, Contestant
from prefboost.evaluation.results import Figure, Results
from prefboost.evaluation.reward_models.accuracy import AccuracyReport, RewardAccuracy
from prefboost.evaluation.reward_models.reports import BenchReport, RewardOutcome, report_rewards
from prefboost.progress import Tell, WorkProgress
from prefboost.scoring.reward_model import RewardModelScorer
from prefboost.settings import Settings

__all__ = ["RewardContest", "build_reward_scorer"]

_MOVED = 0.01
"""Change of a score with its batch, in standard deviations, above which there is an alarm."""


class RewardContest(Settings):
    """Reward models on human preferences: RewardBench 1 and 2, RM-Bench, or any file of pairs."""

    kind: Literal["reward_bench"] = Field("reward_bench", description="Reward models on pairs or published benchmarks.")
    file: Path | None = Field(
        None, description="RewardBench, RewardBench 2 or RM-Bench as published, or pairs: .parquet, .jsonl or .json."
    )
    scorer: Mapping[str, Any] = Field(
        {}, description="Further settings of the scorer reward_model, e.g. max_length: 4096 or batch_tokens."
    )
    report: RewardAccuracy = Field(RewardAccuracy(), description="Ties, slices, intervals, the check of batches.")

    def measure(
        self,
        contestants: Sequence[Contestant],
        assets: Assets,
        *,
        folder: Path,
        limit: int | None = None,
        tell: Tell = lambda _: None,
    ) -> BenchmarkOutcome:
        """Measure every reward model; see `prefboost.evaluation.protocols.MeasuredBenchmark`.

        Scores are stored in ``FOLDER/scores``.
        """
        if self.file is None:
            raise SettingsError("reward_bench has no file", remedy="write reward_bench.file=FILE")
        # The named file, or that of the same name in the folder of benchmarks' data.
        inside = self.file if assets.data_dir is None else assets.data_dir / self.file
        file = inside if inside.is_file() and not self.file.is_file() else self.file
        figures: list[Figure] = []
        verdicts: list[JudgeVerdict] = []
        alarms: list[str] = []
        folder.mkdir(parents=True, exist_ok=True)
        with open_store(folder / "scores") as store:
            for contestant in contestants:
                name = contestant.name
                tell(WorkProgress(f"{name} scores {file.name}", 0))
                scorer = build_reward_scorer(contestant, self.scorer)
                session = CallSession(
                    store,
                    tell=lambda work, name=name: tell(replace(work, name=f"{name}, {work.name}")),  # type: ignore[misc]
                )
                outcome = report_rewards(
                    file, scorer, lambda table, by=scorer, at=session: by.score_stored(table, at), self.report,  # type: ignore[misc]
                    limit=limit,
                )  # fmt: skip
                figures += _build_figures(name, outcome)
                alarms += _find_alarms(name, outcome.report)
                verdicts += _build_verdicts(name, outcome)
        facts = {"settings": self.model_dump(mode="json"), "limit": limit}
        return BenchmarkOutcome(Results("reward_bench", "robust", tuple(figures), tuple(alarms), facts), verdicts)


def build_reward_scorer(contestant: Contestant, options: Mapping[str, Any]) -> RewardModelScorer:
    """Build the scorer of a contestant's weights.

    Args:
        contestant: a local model without a goal.
        options: further settings of the scorer.

    Raises:
        SettingsError: it is no local model, has a goal, or the scorer has no such option.
    """
    engine: Any = contestant.engine
    if getattr(engine, "kind", "") != "local":
        raise SettingsError(
            f"{contestant.name} is not a model on this machine", remedy="give a folder or hub id of a reward model"
        )
    if contestant.goal is not None:
        raise SettingsError("a reward model takes no goal", remedy="leave goal out")
    unknown = [name for name in options if name not in RewardModelScorer.model_fields]
    if unknown:
        raise SettingsError(
            f"{unknown[0]} is not a setting of a reward model",
            remedy=f"its settings are {', '.join(RewardModelScorer.model_fields)}",
        )
    options_of_engine = {name: getattr(engine, name) for name in ("model", "revision", "device", "trust_remote_code")}
    # An engine's number type is a choice for generating; a reward model keeps its checkpoint's unless one was chosen.
    options_of_engine |= {"dtype": engine.dtype} if "dtype" in engine.model_fields_set else {}
    return RewardModelScorer(**{**options_of_engine, **options})


def _build_figures(model: str, outcome: RewardOutcome) -> Iterator[Figure]:
    report, missing = outcome.report, sum(outcome.report.missing.values())
    if isinstance(report, BenchReport):
        # Without figures the accuracy is withheld; with them the overall one comes first.
        bench_figures = {} if report.figures is None else {"overall": report.figures["overall"], **report.figures}
        if report.figures is None:
            yield Figure("accuracy", model, None, missing, report.prompts)
        for name, interval in bench_figures.items():
            group, lacking = ("", missing) if name == "overall" else (name, 0)
            yield Figure("accuracy", model, interval.scale(100), lacking, interval.rows, group=group)
        return
    rows = report.pairs
    bounds = (100 * report.bounds[0], 100 * report.bounds[1])
    accuracy = None if report.accuracy is None else report.accuracy.scale(100)
    yield Figure("accuracy", model, accuracy, missing, rows, bounds=bounds)
    yield Figure(
        "longer_is_better", model, report.longer.scale(100), missing, rows, note="always the longer completion"
    )
    yield Figure(
        "over_length", model, report.over_length.scale(100), missing, rows, note="accuracy less the longer one's"
    )
    for name, slices in report.slices.items():
        for part, interval in slices.items():
            yield Figure("accuracy", model, interval.scale(100), 0, interval.rows, group=f"{name}: {part}")


def _find_alarms(model: str, report: AccuracyReport | BenchReport) -> Iterator[str]:
    for reason, count in report.missing.items():
        yield f"{model} gave no score to {count:,}: {reason}"
    if report.batch_change is not None and report.batch_change > _MOVED:
        yield f"scores of {model} depend on the batch: they move by {report.batch_change:.3f} deviations"


def _build_verdicts(model: str, outcome: RewardOutcome) -> Iterator[JudgeVerdict]:
    for name, share in outcome.shares.items():
        yield JudgeVerdict(name, model, "scores", share)
    for name in outcome.unscored:
        yield JudgeVerdict(name, model, "scores", None, fault="no score")
