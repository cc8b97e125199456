"""``prefboost train-reward``: a reward model from pairs or scored completions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prefboost.cli.bars import open_progress, show_wait
from prefboost.cli.options import OnMachines, Quiet
from prefboost.cli.printing import list_rejected, print_forecast, print_report

if TYPE_CHECKING:
    from prefboost.runs.pipelines.train_reward import RewardRun
    from prefboost.training import TrainReport

__all__ = ["read_train_reward", "train_reward_command"]


def train_reward_command(
    source: Annotated[
        str, typer.Argument(metavar="IN", help="Pairs or scored completions, or a .yaml recipe with mix.")
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="key=value, e.g. model=DIR learning_rate=1e-5 loss.gap=margin eval_fraction=0.1"),
    ] = None,
    *,
    out: Annotated[Path, typer.Option("-o", "--out", help="The run folder; the model is in OUT/model.")] = Path(
        "reward_model"
    ),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Predict time and memory; train nothing.")] = False,
    on: OnMachines = None,
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Train a reward model: on preferences (loss=bradley_terry) or on scores (loss=regression).

    The same command resumes after an interruption. The result is an ordinary sequence-classification model:
    `prefboost score FILE kind=reward_model model=OUT/model` scores with it. A recipe mixes several files of pairs, e.g.
    real and synthetic ones, by shares and weights.
    """
    from dataclasses import asdict

    from prefboost.runs.pipelines.train_reward import (
        forecast_reward_run,
        load_reward_run,
        read_mixture,
        train_reward_on,
    )
    from prefboost.sources import read
    from prefboost.sources.writers.outputs import refuse_inputs

    recipe = source.endswith((".yaml", ".yml"))
    settings = load_reward_run(source, overrides or []) if recipe else read_train_reward(overrides or [])
    if recipe and settings.mix is None:
        from prefboost.errors import SettingsError

        raise SettingsError(f"{source} names no data", remedy="write mix: {parts: {real: {data: FILE}, ...}}")
    with show_wait(f"reading {source}", hidden=quiet):
        table = (
            read(source, columns=settings.columns)
            if settings.mix is None
            else read_mixture(settings.mix, settings.columns)
        )
    if dry_run:
        print_forecast(forecast_reward_run(table, settings.train, strategy=settings.pair), as_json=as_json, on=on)
        return
    refuse_inputs([out], [source], [settings])
    with open_progress(hidden=quiet) as progress:
        report = train_reward_on(table, settings.train, out, strategy=settings.pair, progress=progress)
    print_report(asdict(report), _list_report(report), as_json=as_json)


def read_train_reward(overrides: list[str]) -> RewardRun:
    """Read settings from ``key=value``: names of `TrainReward` stand alone, ``pair`` and ``columns.*`` say how to read.

    Raises:
        SettingsError: one line for every wrong override.
    """
    from prefboost.cli.overrides import read_overrides
    from prefboost.runs.pipelines.train_reward import RewardRun
    from prefboost.training import TrainReward

    names = {**dict.fromkeys(TrainReward.model_fields, "train."), "pair": "", "columns": ""}
    base = {"train": {"loss": {"kind": "bradley_terry"}}, "pair": {"kind": "all_pairs"}}
    return read_overrides(RewardRun, overrides, names, base)


def _list_report(report: TrainReport) -> Iterator[str]:
    from prefboost.cli.train import list_lost_texts, list_metrics

    resumed = f", resumed at step {report.resumed_from:,}" if report.resumed_from else ""
    yield f"trained on {report.pairs:,} items in {report.steps:,} steps, {report.seconds:,.0f} s{resumed}"
    yield from list_rejected(report.dropped)
    yield from list_lost_texts(report.losses)
    yield from report.messages
    distances = [f"{name} {value:.4g}" for name, value in report.metrics.items() if name.startswith("eval_distance")]
    yield "  ".join([*list_metrics(report.metrics), *distances])
    yield f"model: {report.model}"
    yield f"score with it: prefboost score FILE kind=reward_model model={report.model}"
