"""``prefboost train-reward``: a file with pairs or scored completions in, a reward model out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prefboost.cli.bars import waiting
from prefboost.cli.lines import print_rejected
from prefboost.cli.options import Quiet

if TYPE_CHECKING:
    from prefboost.runs.pipelines.train_reward import RewardRun
    from prefboost.training import TrainReport

__all__ = ["settings_from", "train_reward_command"]


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
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what training will take, train nothing.")] = False,
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Train a reward model: on preferences (loss=bradley_terry) or on scores (loss=regression).

    The same command after an interruption goes on where it stopped. What comes out is an ordinary
    sequence-classification model: `prefboost score FILE kind=reward_model model=OUT/model` scores with it. A recipe
    mixes several files of pairs, e.g. real and synthetic ones, by shares and weights.
    """
    from dataclasses import asdict

    from prefboost.cli.train import print_forecast
    from prefboost.runs.pipelines.train_reward import load_reward_run, mixed, predict_reward, train_reward_on
    from prefboost.sources import read
    from prefboost.sources.outputs import refuse_inputs

    recipe = source.endswith((".yaml", ".yml"))
    settings = load_reward_run(source, overrides or []) if recipe else settings_from(overrides or [])
    if recipe and settings.mix is None:
        from prefboost.errors import SettingsError

        raise SettingsError(f"{source} names no data", remedy="write mix: {parts: {real: {data: FILE}, ...}}")
    with waiting(f"reading {source}", hidden=quiet):
        table = (
            read(source, columns=settings.columns) if settings.mix is None else mixed(settings.mix, settings.columns)
        )
    if dry_run:
        forecast = predict_reward(table, settings.train, strategy=settings.pair)
        what = "pairs" if settings.train.loss.compares else "texts"
        print(json.dumps(asdict(forecast), indent=2)) if as_json else print_forecast(forecast, what)
        return
    refuse_inputs([out], [source], [settings])
    progress = None
    if not quiet:
        from prefboost.progress import RichProgress

        progress = RichProgress()
    try:
        report = train_reward_on(table, settings.train, out, strategy=settings.pair, progress=progress)
    finally:
        if progress is not None:
            progress.close()
    print(json.dumps(asdict(report), indent=2)) if as_json else _print_report(report)


def settings_from(overrides: list[str]) -> RewardRun:
    """Settings from ``key=value``: names of `TrainReward` stand alone, ``pair`` and ``columns.*`` say how to read.

    Raises:
        SettingsError: one line for every wrong override.
    """
    from prefboost.cli.short_names import placed
    from prefboost.recipes.documents import Document
    from prefboost.recipes.validate import overridden
    from prefboost.runs.pipelines.train_reward import RewardRun
    from prefboost.training import TrainReward

    homes = {**dict.fromkeys(TrainReward.model_fields, "train."), "pair": "", "columns": ""}
    written = placed(overrides, homes)
    usual = {"train": {"loss": {"kind": "bradley_terry"}}, "pair": {"kind": "all_pairs"}}
    return overridden(RewardRun, Document(usual), written)


def _print_report(report: TrainReport) -> None:
    from prefboost.cli.train import print_losses

    resumed = f", taken up at step {report.resumed_from:,}" if report.resumed_from else ""
    print(f"trained on {report.pairs:,} items in {report.steps:,} steps, {report.seconds:,.0f} s{resumed}")
    print_rejected(report.dropped)
    print_losses(report.losses)
    for message in report.messages:
        print(message)
    wanted = ("loss", "rewards/accuracies", "eval_loss", "eval_rewards/accuracies")
    shown = [f"{name} {report.metrics[name]:.4g}" for name in wanted if name in report.metrics]
    print("  ".join([*shown, *(f"{k} {v:.4g}" for k, v in report.metrics.items() if k.startswith("eval_distance"))]))
    print(f"model: {report.model}")
    print(f"score with it: prefboost score FILE kind=reward_model model={report.model}")
