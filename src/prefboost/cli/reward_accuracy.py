"""``prefboost reward-accuracy``: the share of pairs in which a scorer prefers the chosen side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prefboost.cli.bars import show_work
from prefboost.cli.options import Quiet
from prefboost.cli.printing import print_report

__all__ = ["reward_accuracy_command"]


def reward_accuracy_command(
    source: Annotated[
        str, typer.Argument(metavar="IN", help="Preference pairs, or a file of RewardBench 1 or 2 or RM-Bench.")
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="kind=reward_model model=DIR, kind=implicit policy=DIR ..., report.ties=lose"),
    ] = None,
    *,
    out: Annotated[Path, typer.Option("-o", "--out", help="The .json file to write.")] = Path("reward-accuracy.json"),
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Score both sides of pairs and compare the scores with the given preferences.

    Prints the share of pairs in the right order, by source, aspect, length and margin, beside that of always taking the
    longer completion; the calibration of sigmoid(difference); and the change of scores with the batch. Files in the
    shape of RewardBench 1 and 2 and RM-Bench give the published figures. OUT.scores.parquet keeps the scores.
    """
    from prefboost.cli.overrides import read_kind, read_overrides, split_overrides
    from prefboost.evaluation.reward_models.accuracy import RewardAccuracy
    from prefboost.runs.score.reward_accuracy import Measuring, reward_accuracy
    from prefboost.scoring.scorer import SCORERS

    reported, others = split_overrides(overrides or [], ("report",))
    settings = read_kind(others, Measuring, "scorer", SCORERS)
    report = read_overrides(RewardAccuracy, [text.removeprefix("report.") for text in reported])
    with show_work(hidden=quiet) as tell:
        accuracy = reward_accuracy(source, settings.scorer, report, out, columns=settings.columns, progress=tell)
    print_report({"out": str(out), **accuracy.record()}, [f"written: {out}", *accuracy.lines()], as_json=as_json)
