"""Benchmarks of reward models as `prefboost evaluate` runs them: RewardBench 1 and 2, RM-Bench, files of pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from prefboost.engines.store import Store
from prefboost.errors import SettingsError
from prefboost.evaluation.assets import Assets
from prefboost.evaluation.benchmark import JudgeVerdict
from prefboost.evaluation.protocols import Contestant, Measured
from prefboost.evaluation.results import Figure, Results
from prefboost.evaluation.reward_models.accuracy import AccuracyReport, RewardAccuracy
from prefboost.evaluation.reward_models.reports import BenchReport, Scored, reward_report
from prefboost.scoring.reward_model import RewardModelScorer
from prefboost.scoring.stored import Desk
from prefboost.settings import Settings

__all__ = ["RewardContest", "scorer_of"]

_MOVED = 0.01  # deviations by which scores may move with the batch before it is an alarm


class RewardContest(Settings):
    """How often reward models prefer what was preferred: RewardBench 1 and 2, RM-Bench, or any file of pairs."""

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
        tell: Callable[[str], None] = lambda _: None,
    ) -> Measured:
        """See `prefboost.evaluation.protocols.MeasuredBenchmark`. Scores are kept in ``FOLDER/scores``."""
        file = _place(self.file, assets)
        figures: list[Figure] = []
        verdicts: list[JudgeVerdict] = []
        alarms: list[str] = []
        folder.mkdir(parents=True, exist_ok=True)
        with Store(folder / "scores") as store:
            for one in contestants:
                tell(f"{one.name} scores {file.name}")
                scorer, desk = scorer_of(one, self.scorer), Desk(store)
                scored = reward_report(
                    file, scorer, lambda table, by=scorer, at=desk: by.score_stored(table, at), self.report,  # type: ignore[misc]
                    limit=limit,
                )  # fmt: skip
                figures += _figures(one.name, scored)
                alarms += _alarms(one.name, scored.report)
                verdicts += _verdicts(one.name, scored)
        facts = {"settings": self.model_dump(mode="json"), "limit": limit}
        return Measured(Results("reward_bench", "robust", tuple(figures), tuple(alarms), facts), verdicts)


def scorer_of(contestant: Contestant, options: Mapping[str, Any]) -> RewardModelScorer:
    """The scorer of a contestant's weights.

    Args:
        contestant: a local model, asked for no goal.
        options: further settings of the scorer.

    Raises:
        SettingsError: it is no local model, a goal is asked for, or an option is none of the scorer's.
    """
    engine: Any = contestant.engine
    if getattr(engine, "kind", "") != "local":
        raise SettingsError(
            f"{contestant.name} is no model on this machine", remedy="give a folder or hub id of a reward model"
        )
    if contestant.goal is not None:
        raise SettingsError("a reward model is asked for no goal", remedy="leave goal out")
    unknown = [name for name in options if name not in RewardModelScorer.model_fields]
    if unknown:
        raise SettingsError(
            f"{unknown[0]} is no setting of a reward model",
            remedy=f"its settings are {', '.join(RewardModelScorer.model_fields)}",
        )
    own = {name: getattr(engine, name) for name in ("model", "revision", "device", "trust_remote_code")}
    # An engine's number type is a choice for generating; a reward model keeps its checkpoint's unless one was chosen.
    own |= {"dtype": engine.dtype} if "dtype" in engine.model_fields_set else {}
    return RewardModelScorer(**{**own, **options})


def _place(file: Path | None, assets: Assets) -> Path:
    """The file as it is named, or in the folder of benchmarks' data."""
    if file is None:
        raise SettingsError("reward_bench has no file", remedy="write reward_bench.file=FILE")
    inside = None if assets.data_dir is None else assets.data_dir / file
    return inside if inside is not None and inside.is_file() and not file.is_file() else file


def _figures(model: str, scored: Scored) -> Iterator[Figure]:
    report = scored.report
    if isinstance(report, BenchReport):
        yield from _bench_figures(model, report)
        return
    missing, rows = sum(report.missing.values()), report.pairs
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
        for one, interval in slices.items():
            yield Figure("accuracy", model, interval.scale(100), 0, interval.rows, group=f"{name}: {one}")


def _bench_figures(model: str, report: BenchReport) -> Iterator[Figure]:
    missing = sum(report.missing.values())
    if report.figures is None:
        yield Figure("accuracy", model, None, missing, report.prompts)
        return
    last = {"overall": report.figures["overall"], **report.figures}
    for name, interval in last.items():
        group = "" if name == "overall" else name
        yield Figure("accuracy", model, interval.scale(100), missing if not group else 0, interval.rows, group=group)


def _alarms(model: str, report: AccuracyReport | BenchReport) -> Iterator[str]:
    for reason, count in report.missing.items():
        yield f"{model} gave no score to {count:,}: {reason}"
    if report.batch_change is not None and report.batch_change > _MOVED:
        yield f"scores of {model} depend on the batch: they move by {report.batch_change:.3f} deviations"


def _verdicts(model: str, scored: Scored) -> Iterator[JudgeVerdict]:
    for name, share in scored.shares.items():
        yield JudgeVerdict(name, model, "scores", share)
    for name in scored.unscored:
        yield JudgeVerdict(name, model, "scores", None, fault="no score")
