"""``prefboost run``: any recipe, stage by stage, in one folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prefboost.cli.bars import open_progress
from prefboost.cli.executors import Address, RecipeExecutor, Workers, settle_executor
from prefboost.cli.options import OnMachines, Quiet, RecipeName, RunsFolder
from prefboost.cli.printing import estimate_machines, list_estimate, list_rejected, print_report

if TYPE_CHECKING:
    from prefboost.recipes.kinds import AnyRecipe
    from prefboost.runs.folder.schedule import StageOutcome, StageStatus
    from prefboost.runs.pipelines.run import RunReport

__all__ = ["print_plan", "run_command"]

NEW = "not done yet"
"""The reason of a stage that is not printed."""


def run_command(
    recipe: RecipeName,
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value, e.g. rounds=3 generate.n=8")] = None,
    *,
    runs_dir: RunsFolder = Path("runs"),
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="List the stages, finished or to do with the reason, and their cost; run nothing."
        ),
    ] = False,
    on: OnMachines = None,
    until: Annotated[
        str | None, typer.Option(help="The last stage to do, as --dry-run names it; a later call resumes.")
    ] = None,
    executor: RecipeExecutor = None,
    address: Address = None,
    tasks: Workers = None,
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Run a recipe of any kind: offline, on_policy, implicit_reward, reward.

    With executor: ray, in the recipe or as an option, the nodes of a cluster prepare the data, complete prompts and
    score; training stays here. The run folder records finished stages. The same command resumes after an interruption;
    after a change it repeats the stages that depend on the change, with the reason. On several devices:
    accelerate launch -m prefboost.cli.main run RECIPE
    """
    from prefboost.recipes.load import load_any
    from prefboost.runs.folder.executor import choose_executor
    from prefboost.runs.pipelines.run import run

    loaded = load_any(recipe, overrides or [])
    where = settle_executor(loaded.executor, executor, address, tasks)
    loaded = loaded.model_copy(update={"executor": where})
    if dry_run:
        print_plan(loaded, runs_dir, on, as_json=as_json)
        return
    here = choose_executor(os.environ)
    tells = here.is_main_process and not as_json
    with open_progress(hidden=quiet or not here.is_main_process) as progress:
        report = run(
            loaded,
            runs_dir,
            until=until,
            executor=here,
            progress=progress,
            tell=_print_stage if tells else lambda _: None,
        )
    if here.is_main_process:
        print_report(asdict(report), _list_report(report), as_json=as_json)


def print_plan(recipe: AnyRecipe, runs_dir: Path, on: Sequence[str] | None, *, as_json: bool) -> None:
    """Print the stages, and what those that are to do will cost: by stage, by round, and in all."""
    from prefboost.runs.folder.manifest import Run
    from prefboost.runs.pipelines.run import plan_run
    from prefboost.runs.pipelines.run_forecast import forecast_run

    stages = plan_run(recipe, runs_dir)
    if not as_json:
        # Printed at once: the forecast that follows reads the data.
        print("\n".join(_list_plan(stages)), flush=True)
    forecast = forecast_run(recipe, Run(runs_dir / recipe.name), stages)
    where = recipe.executor.kind
    estimates = {
        name: estimate_machines([each for stage in of for each in stage.values()], on, where)
        for name, of in forecast.group_stages().items()
    }
    listed = [{"stage": each.stage.name, "done": each.done, "why": each.why, "key": each.key} for each in stages]
    record = {"stages": listed, "forecast": forecast.record(), "estimate": estimates}
    lines = [line for name, each in estimates.items() for line in list_estimate(each, f"{name} " if name else "")]
    print_report(record, [*forecast.lines(), *lines], as_json=as_json)


def _list_plan(stages: Sequence[StageStatus]) -> Iterator[str]:
    for each in stages:
        yield f"{each.stage.name:<20} {'done' if each.done else f'to do: {each.why}'}"
    yield f"{sum(each.done for each in stages)} of {len(stages)} stages are done"


def _print_stage(did: StageOutcome) -> None:
    if did.why is None:
        lines = [f"{did.stage:<20} skipped: nothing it depends on has changed"]
    else:
        why = "" if did.why == NEW else f" ({did.why})"
        lines = [f"{did.stage:<20} {_describe_counts(did.notes)}  {did.seconds:,.1f} s{why}"]
        if did.notes.get("prompts dropped"):
            reason = "prompts dropped: all their completions are the same"
            lines.append(f"{'':<20} {did.notes['prompts dropped']:,} {reason}")
        rejected = {**did.notes.get("rejected", {}), **did.notes.get("dropped", {})}
        lines += list_rejected(rejected, indent=f"{'':<20} ")
    # Flushed line by line: stages take hours, and whoever reads a pipe or a log file wants to see each as it ends.
    for line in lines:
        print(line, flush=True)


def _describe_counts(notes: Mapping[str, Any]) -> str:
    if "accuracy" in notes:
        return f"accuracy {_describe_accuracy(notes)}"
    if "score" in notes:
        return f"mean score {_format_estimate(notes['score'])}"
    if "steps" in notes and "units" in notes:
        return f"{notes['pairs']:,} {notes.get('what', 'goal pairs')}, {notes['steps']:,} steps"
    if "goal_pairs" in notes:
        return f"{notes['goal_pairs']:,} goal pairs"
    rows, prompts = notes.get("rows", 0), notes.get("prompts", 0)
    return f"{prompts:,} prompts" if rows == prompts else f"{rows:,} rows of {prompts:,} prompts"


def _list_report(report: RunReport) -> Iterator[str]:
    for stage, figures in report.measured.items():
        if "accuracy" in figures:
            yield f"{stage.removesuffix('/accuracy'):<24} accuracy {_describe_accuracy(figures)}"
            continue
        gain = figures["gain"]
        against = f", {gain['estimate']:+.2f} {_format_interval(gain)} against start" if gain else ""
        goal = figures["goal"]
        goals = goal if isinstance(goal, Mapping) else {"": goal}
        scores = ", ".join(f"{name} {value:g}".strip() for name, value in goals.items() if value is not None)
        score = f"asked for {scores or 'nothing'}: {_format_estimate(figures['score'])}"
        yield f"{stage.removesuffix('/evaluate'):<10} {score}{against}; {figures['characters']:,.0f} characters"
    yield f"run folder: {report.folder}"
    if report.model is not None:
        yield f"model: {report.model}"


def _describe_accuracy(figures: Mapping[str, Any]) -> str:
    baseline = f"always the longer one {_format_estimate(figures['longer'])}"
    if figures["accuracy"] is None:
        low, high = figures["bounds"]
        return f"withheld, between {low:.2f} and {high:.2f}, since too many pairs have no scores; {baseline}"
    return f"{_format_estimate(figures['accuracy'])}; {baseline}"


def _format_estimate(interval: Mapping[str, Any]) -> str:
    return f"{interval['estimate']:.2f} {_format_interval(interval)} ({interval['clusters']:,} prompts)"


def _format_interval(interval: Mapping[str, Any]) -> str:
    return f"[{interval['low']:.2f}, {interval['high']:.2f}]"
