"""``prefboost reproduce``: the comparison of the paper on one's own model and data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prefboost.cli.bars import open_progress, show_wait
from prefboost.cli.options import OnMachines, Quiet
from prefboost.cli.printing import estimate_machines, list_estimate, print_report
from prefboost.errors import SettingsError

if TYPE_CHECKING:
    from prefboost.forecast import Forecast
    from prefboost.runs.reproduce.rmboost.settings import RewardReproduction
    from prefboost.runs.reproduce.settings import Reproduction

__all__ = ["read_reproduction", "read_reward_reproduction", "reproduce_command"]

_BASE = "smollm2-135m-packaged-ra"


def reproduce_command(
    what: Annotated[str, typer.Argument(metavar="WHAT", help="reward_augmented or rmboost")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RECIPE] [KEY=VALUE]...",
            help=f"reward_augmented: a recipe (default {_BASE}) and key=value: model=DIR data=FILE betas=[0.03,0.1] "
            "seeds=[1,2,3,4,5] arms=[dpo,ra] scorer.kind=rules train.batch_size=32 ...; rmboost: data=PAIRS model=DIR "
            "generator=MODEL equal=pairs calls=2000 aspects.task=qa train.batch_size=16 ...",
        ),
    ] = None,
    *,
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder to write.")] = Path("runs/reproduce"),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the cells and predict the time; train nothing.")
    ] = False,
    on: OnMachines = None,
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Run the comparison of a paper on one's own model and data, over seeds, in one folder that resumes.

    reward_augmented (arXiv 2410.08067): goals against DPO and other rivals, at equal steps. Every arm's beta and
    learning rate are chosen on validation prompts, besides the published ones; the verdict is taken on test prompts:
    by a scorer on new completions, and without one by log-probs of the file's own. OUT/report.md has a line per claim
    and a table with intervals over seeds and prompts. The same command resumes. Options add arms and measures:
    on_policy.rounds=1 (the policy's own samples), relabel.aspects=[a,b] (goal vectors), noise.deviation=2 (a judge that
    errs, for training alone), academic.limit=50 (academic tasks).

    rmboost (arXiv 2407.16008): pairs by RMBoost, RLAIF, RLCD and West-of-N from the same prompts and engine, a reward
    model trained on each with equal steps, and how often each agrees with held-out labels. model= writes, judges, and
    is what reward models start from, unless generator=, judge.* or train.model= name others.
    """
    from prefboost.runs.reproduce.plan import plan_cells, plan_reproduction
    from prefboost.runs.reproduce.reproduce import reproduce
    from prefboost.runs.reproduce.rmboost.comparison import forecast_rmboost, reproduce_rmboost

    if what not in ("reward_augmented", "rmboost"):
        raise SettingsError(f"there is no reproduction of {what!r}", remedy="one of: reward_augmented, rmboost")
    if what == "rmboost":
        rewards = read_reward_reproduction(overrides or [])
        if dry_run:
            with show_wait("predicting calls and time", hidden=quiet):
                forecast, works = forecast_rmboost(rewards)
            _print_plan(forecast.record(), forecast.lines(), works, on, as_json=as_json)
            return
        with open_progress(hidden=quiet) as progress:
            report = reproduce_rmboost(rewards, out, progress=progress)
    else:
        settings = read_reproduction(overrides or [])
        if dry_run:
            record = {"cells": [cell.name for cell in plan_cells(settings)], "seeds": list(settings.seeds)}
            with show_wait("predicting the time", hidden=quiet):
                plan = plan_reproduction(settings)
            _print_plan(record, plan.lines, plan.works, on, as_json=as_json)
            return
        with open_progress(hidden=quiet) as progress:
            report = reproduce(settings, out, progress=progress)
    print_report(report.record(), report.lines(), as_json=as_json)


def _print_plan(
    record: Mapping[str, Any],
    lines: Iterable[str],
    works: Mapping[str, Forecast],
    on: Sequence[str] | None,
    *,
    as_json: bool,
) -> None:
    """Print what a dry run found out: with ``--on`` an estimate of every part of the work too, and of all."""
    estimates = {name: estimate_machines([work], on) for name, work in works.items()} if on else {}
    estimates[""] = estimate_machines(works.values(), on)
    costs = [line for name, each in estimates.items() for line in list_estimate(each, f"{name}: " if name else "")]
    print_report({**record, "estimate": estimates}, [*lines, *costs], as_json=as_json)


def read_reproduction(overrides: Sequence[str]) -> Reproduction:
    """Read the settings of `reproduce reward_augmented`: a recipe's name, and ``key=value`` of both.

    Raises:
        SettingsError: several recipes, or one line for every wrong override.
    """
    from prefboost.cli.overrides import read_overrides, split_overrides
    from prefboost.recipes.load import load
    from prefboost.runs.reproduce.settings import Reproduction

    recipes = [text for text in overrides if "=" not in text]
    if len(recipes) > 1:
        raise SettingsError(f"several recipes: {', '.join(recipes)}", remedy="give one, of which all arms are made")
    names = [name for name in Reproduction.model_fields if name != "recipe"]
    ours, others = split_overrides((text for text in overrides if "=" in text), names)
    # The model is what changes most often; in a recipe it is a setting of its training.
    others = [f"train.{text}" if text.partition("=")[0].strip() == "model" else text for text in others]
    recipe = load(recipes[0] if recipes else _BASE, others)
    return read_overrides(Reproduction, ours, base={"recipe": recipe.model_dump(mode="json")})


def read_reward_reproduction(overrides: Sequence[str]) -> RewardReproduction:
    """Read the settings of `reproduce rmboost`; ``model=`` names the model of every part that needs one.

    Raises:
        SettingsError: one line for every wrong override.
    """
    from prefboost.cli.overrides import expand_model, get_first_name, read_overrides
    from prefboost.runs.reproduce.rmboost.settings import RewardReproduction

    models = [text.partition("=")[2] for text in overrides if get_first_name(text) == "model"]
    parts = [text for text in overrides if get_first_name(text) != "model"]
    # What is named besides replaces its part.
    defaults = [f"{name}={model}" for model in models for name in ("train.model", "generator")]
    return read_overrides(RewardReproduction, map(expand_model, [*defaults, *parts]))
