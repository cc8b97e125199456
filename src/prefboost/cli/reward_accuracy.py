"""``prefboost reward-accuracy``: how often a scorer prefers what was preferred."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from prefboost.cli.options import Quiet

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
    """Score both sides of pairs and hold the scores against the given preferences.

    Prints the share of pairs that are put right, by source, aspect, length and margin, against always taking the longer
    completion; how well sigmoid(difference) is calibrated; and whether scores depend on the batch. Files shaped like
    RewardBench 1 and 2 and RM-Bench give the published figures. Scores are kept in OUT.scores.parquet.
    """
    from prefboost.cli.score import progress_bars, settings_by_kind
    from prefboost.evaluation.reward_models.accuracy import RewardAccuracy
    from prefboost.recipes.validate import override
    from prefboost.runs.score.reward_accuracy import Measuring, reward_accuracy
    from prefboost.scoring.scorer import SCORERS

    own = [text for text in overrides or [] if text.startswith("report.")]
    settings = settings_by_kind([text for text in overrides or [] if text not in own], Measuring, "scorer", SCORERS)
    report = override(RewardAccuracy(), [text.removeprefix("report.") for text in own])
    with progress_bars(hidden=quiet) as tell:
        found = reward_accuracy(source, settings.scorer, report, out, columns=settings.columns, progress=tell)
    if as_json:
        print(json.dumps({"out": str(out), **found.record()}, indent=2, ensure_ascii=False))
        return
    print(f"written: {out}")
    print("\n".join(found.lines()))
