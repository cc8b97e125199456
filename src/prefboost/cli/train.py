"""``prefboost train``: a recipe from data to a trained policy."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prefboost.cli.bars import open_progress
from prefboost.cli.executors import Address, RecipeExecutor, Tasks, settle_executor
from prefboost.cli.options import OnMachines, Quiet, RecipeName, RunsFolder
from prefboost.cli.printing import estimate_machines, list_estimate, print_report

if TYPE_CHECKING:
    from prefboost.runs.folder.schedule import StageOutcome
    from prefboost.runs.pipelines.goal_pairs import PairCounts
    from prefboost.training import TrainReport

__all__ = ["list_lost_texts", "list_metrics", "train_command"]


def train_command(
    recipe: RecipeName,
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value, e.g. train.learning_rate=1e-6")] = None,
    *,
    runs_dir: RunsFolder = Path("runs"),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Prepare the data and predict time and memory; train nothing.")
    ] = False,
    on: OnMachines = None,
    executor: RecipeExecutor = None,
    address: Address = None,
    tasks: Tasks = None,
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Train a policy by a recipe: read, pair, relabel, condition, train. This is `prefboost run` of an offline recipe.

    The same command resumes after an interruption. After a change of settings it repeats the stages that depend on
    them, in the same run folder, with the reason: give another name to keep both. On several devices:
    accelerate launch -m prefboost.cli.main train RECIPE
    """
    from prefboost.recipes.load import load
    from prefboost.runs.folder.executor import choose_executor
    from prefboost.runs.pipelines.offline import forecast_recipe
    from prefboost.runs.pipelines.run import run_recipe

    def print_steps(prepared: PairCounts) -> None:
        # Printed as soon as the data are ready: the forecast that follows takes minutes.
        for step in prepared.steps:
            print(f"{step['verb']:<10} {step['rows_in']:>10,} -> {step['rows_out']:>10,}")
            for line in _list_counts(step["rejected"]):
                print(line)

    def print_change(outcome: StageOutcome) -> None:
        # A stage that was not done yet needs no reason.
        if outcome.why not in (None, "not done yet", "begun and not finished"):
            print(f"{outcome.stage} done again: {outcome.why}", flush=True)

    loaded = load(recipe, overrides or [])
    where = settle_executor(loaded.executor, executor, address, tasks)
    loaded = loaded.model_copy(update={"executor": where})
    if dry_run:
        prepared, forecast = forecast_recipe(loaded, None if as_json else print_steps)
        estimate = estimate_machines([forecast], on)
        record = {**asdict(prepared), "training": forecast.record(), **({"estimate": estimate} if estimate else {})}
        print_report(record, [*forecast.lines(), *list_estimate(estimate)], as_json=as_json)
        return
    here = choose_executor(os.environ)
    with open_progress(hidden=quiet or not here.is_main_process) as progress:
        report = run_recipe(
            loaded, runs_dir / loaded.name, executor=here, progress=progress,
            tell=print_change if here.is_main_process and not as_json else lambda _: None,
        )  # fmt: skip
    if here.is_main_process:
        print_report(asdict(report), _list_report(report, runs_dir / loaded.name), as_json=as_json)


def _list_counts(counts: Mapping[str, int]) -> Iterator[str]:
    for reason, count in counts.items():
        yield f"{'':<10} {count:>10,} rejected: {reason}"


def list_lost_texts(losses: Sequence[str]) -> Iterator[str]:
    """List the kinds of text that training does not see."""
    for sentence in losses:
        yield f"text lost: {sentence}"


def list_metrics(metrics: Mapping[str, float]) -> list[str]:
    """List loss and accuracy of training and evaluation, those that were measured."""
    names: Sequence[str] = ("loss", "rewards/accuracies", "eval_loss", "eval_rewards/accuracies")
    return [f"{name} {metrics[name]:.4g}" for name in names if name in metrics]


def _list_report(report: TrainReport, folder: Path) -> Iterator[str]:
    from prefboost.runs.folder.manifest import Run

    resumed = f", resumed at step {report.resumed_from:,}" if report.resumed_from else ""
    yield f"trained on {report.pairs:,} goal pairs in {report.steps:,} steps, {report.seconds:,.0f} s{resumed}"
    yield from _list_counts({**Run(folder).notes("pairs").get("rejected", {}), **report.dropped})
    yield from list_lost_texts(report.losses)
    yield from report.messages
    if "tokens_per_s" in report.speed:
        speed = report.speed
        yield (
            f"{speed['tokens_per_s']:,.0f} tokens/s  padding saved {speed['padding_saved']:.2f}x  "
            f"shared beginnings {speed['prefix_saved']:.2f}x  peak {speed['peak_gib']:.1f} GiB"
        )
    yield "  ".join(list_metrics(report.metrics)) or f"log: {folder / 'train_log.jsonl'}"
    yield f"model: {report.model}"
    yield f"talk to it: prefboost chat {report.model}"
