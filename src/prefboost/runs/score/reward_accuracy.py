"""`reward_accuracy`: how often a scorer prefers what was preferred, on pairs or on a reward-model benchmark's file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from pydantic import Field

from prefboost.atomic import write_atomically
from prefboost.errors import DataError
from prefboost.evaluation.reward_models.accuracy import RewardAccuracy
from prefboost.evaluation.reward_models.reports import RewardReport, report_rewards
from prefboost.progress import Tell
from prefboost.runs.score.score import score
from prefboost.scoring.scorer import SCORERS, Scorer
from prefboost.settings import Settings, choice
from prefboost.sources import Columns
from prefboost.sources.writers.outputs import guard_file, list_output_files, refuse_foreign, refuse_inputs
from prefboost.tables import Table

__all__ = ["Measuring", "reward_accuracy"]


class Measuring(Settings):
    """Settings of `reward_accuracy`: the scorer, the columns of the file, and the report."""

    scorer: Annotated[Scorer, choice(SCORERS)] = Field(description="Scorer of the completions.")
    columns: Columns = Field(Columns(), description="Columns of the file, where they are not guessed right.")
    report: RewardAccuracy = Field(RewardAccuracy(), description="Ties, slices, intervals.")


NO_SETTINGS = RewardAccuracy()


def reward_accuracy(
    source: str | Path | Table,
    scorer: Scorer,
    settings: RewardAccuracy = NO_SETTINGS,
    out: str | Path | None = None,
    *,
    columns: Columns | None = None,
    progress: Tell = lambda _: None,
) -> RewardReport:
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
        RunError: another process is writing the same output; the output is an input, or another's file.
    """
    target = None if out is None else Path(out)
    scores = None if target is None else target.with_suffix(".scores.parquet")
    if target is not None and target.suffix != ".json":
        raise DataError(f"the report is written as JSON, found {target.name}", remedy="name a file that ends in .json")
    if target is not None:
        guard_file(scores, "score", [source], [scorer])
        refuse_inputs([target], [source], [scorer])
        refuse_foreign([target], list_output_files(scores or target, ".store"), "reward-accuracy")
    report = report_rewards(
        source, scorer, lambda table: score(table, scorer, scores, progress=progress), settings,
        columns=columns,
    ).report  # fmt: skip
    if target is not None:
        write_atomically(target, json.dumps(report.record(), indent=2, ensure_ascii=False) + "\n")
    return report
