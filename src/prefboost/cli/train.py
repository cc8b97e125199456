"""``prefboost train``: a recipe from data to a trained policy."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prefboost.cli.options import Quiet

if TYPE_CHECKING:
    from prefboost.runs.folder.schedule import Did
    from prefboost.runs.pipelines.goal_pairs import PairCounts
    from prefboost.training import TrainReport
    from prefboost.training.forecast import Forecast

__all__ = ["print_forecast", "print_losses", "train_command"]


def train_command(
    recipe: Annotated[str, typer.Argument(help="A YAML file, or the name of a shipped recipe (`prefboost show`).")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value, e.g. train.learning_rate=1e-6")] = None,
    runs_dir: Annotated[
        Path, typer.Option(help="Where run folders are made; this one is named for the recipe.")
    ] = Path("runs"),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Prepare the data, say what training will take, train nothing.")
    ] = False,
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Train a policy by a recipe: read, pair, relabel, condition, train. This is `prefboost run` of an offline recipe.

    The same command after an interruption resumes; after a change of settings it repeats what depends on them, in the
    same run folder, and says why: give another name to keep both. On several devices:
    accelerate launch -m prefboost.cli.main train RECIPE
    """
    from prefboost.recipes.load import load
    from prefboost.runs.folder.executor import executor_for
    from prefboost.runs.pipelines.offline import forecast_recipe
    from prefboost.runs.pipelines.run import run_recipe

    loaded = load(recipe, overrides or [])
    if dry_run:
        prepared, forecast = forecast_recipe(loaded, None if as_json else _print_steps)
        if as_json:
            _print_json({**asdict(prepared), "training": asdict(forecast)})
        else:
            print_forecast(forecast, "goal pairs")
        return
    executor = executor_for(os.environ)
    progress = None if quiet or not executor.leads else _progress()
    try:
        report = run_recipe(
            loaded, runs_dir / loaded.name, executor=executor, progress=progress,
            tell=_print_change if executor.leads and not as_json else lambda _: None,
        )  # fmt: skip
    finally:
        if progress is not None:
            progress.close()
    if executor.leads:
        _print_json(asdict(report)) if as_json else _print_report(report, runs_dir / loaded.name)


def _progress() -> Any:
    from prefboost.progress import RichProgress

    return RichProgress()


def _print_change(outcome: Did) -> None:
    """Print why a stage was done again; that it was not done yet goes without saying."""
    if outcome.why not in (None, "not done yet", "begun and not finished"):
        print(f"{outcome.stage} done again: {outcome.why}", flush=True)


def _print_json(shown: Mapping[str, Any]) -> None:
    print(json.dumps(shown, indent=2, default=str))


def _print_steps(prepared: PairCounts) -> None:
    for step in prepared.steps:
        print(f"{step['verb']:<10} {step['rows_in']:>10,} -> {step['rows_out']:>10,}")
        _print_counts(step["rejected"])


def print_forecast(forecast: Forecast, what: str) -> None:
    """Print what a training will take.

    Args:
        forecast: as predicted.
        what: is trained on, in the plural.
    """
    from prefboost.progress import duration

    _print_counts(forecast.dropped)
    print_losses(forecast.losses)
    print(f"{forecast.pairs:,} {what} to train on: {forecast.units:,} units, {forecast.steps:,} steps")
    tokens = forecast.tokens
    print(f"tokens: {tokens['packed']:,} computed, {tokens['real']:,} real, {tokens['padded']:,} if they were padded")
    if forecast.seconds:
        parts = ", ".join(f"{name} {duration(seconds)}" for name, seconds in forecast.seconds.items())
        print(f"time:   about {duration(sum(forecast.seconds.values()))} on {forecast.device} ({parts})")
    if forecast.memory:
        parts = ", ".join(f"{name} {size / 2**30:.2f}" for name, size in forecast.memory.items())
        print(f"memory: about {sum(forecast.memory.values()) / 2**30:.2f} GiB ({parts})")
    for sentence in forecast.guesses:
        print(f"guess:  {sentence}")


def _print_counts(counts: Mapping[str, int]) -> None:
    for reason, count in counts.items():
        print(f"{'':<10} {count:>10,} set aside: {reason}")


def print_losses(losses: Sequence[str]) -> None:
    """Print what training does not see of the text, a line for each kind."""
    for sentence in losses:
        print(f"text lost: {sentence}")


def _print_report(report: TrainReport, folder: Path) -> None:
    from prefboost.runs.folder.manifest import Run

    resumed = f", taken up at step {report.resumed_from:,}" if report.resumed_from else ""
    print(f"trained on {report.pairs:,} goal pairs in {report.steps:,} steps, {report.seconds:,.0f} s{resumed}")
    _print_counts({**Run(folder).notes("pairs").get("rejected", {}), **report.dropped})
    print_losses(report.losses)
    for message in report.messages:
        print(message)
    if "tokens_per_s" in report.speed:
        speed = report.speed
        print(
            f"{speed['tokens_per_s']:,.0f} tokens/s  padding saved {speed['padding_saved']:.2f}x  "
            f"shared beginnings {speed['prefix_saved']:.2f}x  peak {speed['peak_gib']:.1f} GiB"
        )
    wanted: Sequence[str] = ("loss", "rewards/accuracies", "eval_loss", "eval_rewards/accuracies")
    shown = [f"{name} {report.metrics[name]:.4g}" for name in wanted if name in report.metrics]
    print("  ".join(shown) if shown else f"log: {folder / 'train_log.jsonl'}")
    print(f"model: {report.model}")
    print(f"talk to it: prefboost chat {report.model}")
