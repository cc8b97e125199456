"""``prefboost run``: any recipe, stage by stage, in one folder."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prefboost.cli.options import Quiet

if TYPE_CHECKING:
    from prefboost.runs.folder.schedule import Did, Standing
    from prefboost.runs.pipelines.run import RunReport

__all__ = ["run_command"]

NEW = "not done yet"
"""The reason that goes without saying."""


def run_command(
    recipe: Annotated[str, typer.Argument(help="A YAML file, or the name of a shipped recipe (`prefboost show`).")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value, e.g. rounds=3 generate.n=8")] = None,
    *,
    runs_dir: Annotated[
        Path, typer.Option(help="Where run folders are made; this one is named for the recipe.")
    ] = Path("runs"),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the stages, done or to do and why; do nothing.")
    ] = False,
    until: Annotated[
        str | None, typer.Option(help="The last stage to do, as --dry-run names it; a later call goes on.")
    ] = None,
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Do what a recipe of any kind says: offline, on_policy, implicit_reward, reward.

    Every stage is noted when it is done. The same command after an interruption goes on where it stopped; after a
    change it repeats the stages that depend on what was changed, and says why. On several devices:
    accelerate launch -m prefboost.cli.main run RECIPE
    """
    from prefboost.recipes.load import load_any
    from prefboost.runs.folder.executor import executor_for
    from prefboost.runs.pipelines.run import plan, run

    loaded = load_any(recipe, overrides or [])
    if dry_run:
        found = plan(loaded, runs_dir)
        print(json.dumps(_listed(found), indent=2)) if as_json else _print_plan(found)
        return
    executor = executor_for(os.environ)
    shown = executor.leads and not as_json
    with _progress(hidden=quiet or not executor.leads) as progress:
        report = run(
            loaded,
            runs_dir,
            until=until,
            executor=executor,
            progress=progress,
            tell=_print_stage if shown else lambda _: None,
        )
    if executor.leads:
        print(json.dumps(asdict(report), indent=2, default=str)) if as_json else _print_report(report)


@contextmanager
def _progress(*, hidden: bool) -> Iterator[Any]:
    if hidden:
        yield None
        return
    from prefboost.progress import RichProgress

    with RichProgress() as progress:
        yield progress


def _listed(found: Sequence[Standing]) -> list[dict[str, Any]]:
    return [{"stage": each.stage.name, "done": each.done, "why": each.why, "key": each.key} for each in found]


def _print_plan(found: Sequence[Standing]) -> None:
    for each in found:
        print(f"{each.stage.name:<20} {'done' if each.done else f'to do: {each.why}'}")
    print(f"{sum(each.done for each in found)} of {len(found)} stages are done")


def _print_stage(did: Did) -> None:
    if did.why is None:
        print(f"{did.stage:<20} skipped: nothing it depends on has changed", flush=True)
        return
    why = "" if did.why == NEW else f" ({did.why})"
    print(f"{did.stage:<20} {_counts(did.notes)}  {did.seconds:,.1f} s{why}", flush=True)
    if did.notes.get("prompts dropped"):
        print(f"{'':<20} {did.notes['prompts dropped']:,} prompts dropped: all their completions are the same")
    for reason, count in {**did.notes.get("rejected", {}), **did.notes.get("dropped", {})}.items():
        print(f"{'':<20} {count:,} set aside: {reason}")


def _counts(notes: Mapping[str, Any]) -> str:
    if "accuracy" in notes:
        return f"accuracy {_accuracy(notes)}"
    if "score" in notes:
        return f"mean score {_interval(notes['score'])}"
    if "steps" in notes and "units" in notes:
        return f"{notes['pairs']:,} {notes.get('what', 'goal pairs')}, {notes['steps']:,} steps"
    if "goal_pairs" in notes:
        return f"{notes['goal_pairs']:,} goal pairs"
    rows, prompts = notes.get("rows", 0), notes.get("prompts", 0)
    return f"{prompts:,} prompts" if rows == prompts else f"{rows:,} rows of {prompts:,} prompts"


def _print_report(report: RunReport) -> None:
    for stage, found in report.measured.items():
        if "accuracy" in found:
            print(f"{stage.removesuffix('/accuracy'):<24} accuracy {_accuracy(found)}")
            continue
        asked = _asked(found["goal"])
        gain = f", {found['gain']['estimate']:+.2f} {_ends(found['gain'])} against start" if found["gain"] else ""
        length = f"{found['characters']:,.0f} characters"
        print(f"{stage.removesuffix('/evaluate'):<10} {asked}: {_interval(found['score'])}{gain}; {length}")
    print(f"run folder: {report.folder}")
    if report.model is not None:
        print(f"model: {report.model}")


def _accuracy(found: Mapping[str, Any]) -> str:
    always = f"always the longer one {_interval(found['longer'])}"
    if found["accuracy"] is None:
        low, high = found["bounds"]
        return f"withheld, between {low:.2f} and {high:.2f}, since too many pairs have no scores; {always}"
    return f"{_interval(found['accuracy'])}; {always}"


def _asked(goal: Any) -> str:
    if goal is None:
        return "asked for nothing"
    named = goal if isinstance(goal, Mapping) else {"": goal}
    return "asked for " + ", ".join(f"{name} {value:g}".strip() for name, value in named.items())


def _interval(found: Mapping[str, Any]) -> str:
    return f"{found['estimate']:.2f} {_ends(found)} ({found['clusters']:,} prompts)"


def _ends(found: Mapping[str, Any]) -> str:
    return f"[{found['low']:.2f}, {found['high']:.2f}]"
