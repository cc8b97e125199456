"""``prefboost reproduce``: the comparison of the paper on one's own model and data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prefboost.cli.bars import open_progress
from prefboost.cli.options import Quiet
from prefboost.cli.printing import print_report
from prefboost.errors import SettingsError

if TYPE_CHECKING:
    from prefboost.runs.reproduce.cells import Cell
    from prefboost.runs.reproduce.settings import Reproduction

__all__ = ["reproduce_command"]

_BASE = "smollm2-135m-packaged-ra"


def reproduce_command(
    what: Annotated[str, typer.Argument(metavar="WHAT", help="reward_augmented")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RECIPE] [KEY=VALUE]...",
            help=f"A reward-augmented recipe (default {_BASE}) and key=value: model=DIR data=FILE betas=[0.03,0.1] "
            "seeds=[1,2,3,4,5] arms=[dpo,ra] scorer.kind=rules train.batch_size=32 ...",
        ),
    ] = None,
    *,
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder to write.")] = Path("runs/reproduce"),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the cells and predict the time; train nothing.")
    ] = False,
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Compare reward augmentation with DPO and other rivals, at equal steps, over seeds (arXiv 2410.08067).

    Every arm's beta and learning rate are chosen on validation prompts, besides the published ones; the verdict is
    taken on test prompts: by a scorer on new completions, and without one by log-probs of the file's own. OUT/report.md
    has a line per claim and a table with intervals over seeds and prompts. The same command resumes.
    """
    from prefboost.cli.overrides import read_overrides, split_overrides
    from prefboost.recipes.load import load
    from prefboost.runs.reproduce.reproduce import plan_cells, reproduce
    from prefboost.runs.reproduce.settings import Reproduction

    if what != "reward_augmented":
        raise SettingsError(
            f"there is no reproduction of {what!r}", remedy="write prefboost reproduce reward_augmented"
        )
    recipes = [text for text in overrides or [] if "=" not in text]
    if len(recipes) > 1:
        raise SettingsError(f"several recipes: {', '.join(recipes)}", remedy="give one, of which all arms are made")
    names = [name for name in Reproduction.model_fields if name != "recipe"]
    ours, others = split_overrides((text for text in overrides or [] if "=" in text), names)
    # The model is what changes most often; in a recipe it is a setting of its training.
    others = [f"train.{text}" if text.partition("=")[0].strip() == "model" else text for text in others]
    recipe = load(recipes[0] if recipes else _BASE, others)
    settings = read_overrides(Reproduction, ours, base={"recipe": recipe.model_dump(mode="json")})
    if dry_run:
        cells = plan_cells(settings)
        print_report(
            {"cells": [cell.name for cell in cells], "seeds": list(settings.seeds)},
            _list_plan(settings, cells),
            as_json=as_json,
        )
        return
    with open_progress(hidden=quiet) as progress:
        report = reproduce(settings, out, progress=progress)
    print_report(report.record(), report.lines(), as_json=as_json)


def _list_plan(settings: Reproduction, cells: Sequence[Cell]) -> Iterator[str]:
    """List the cells, and the time that training them will take."""
    from prefboost.progress import duration
    from prefboost.runs.pipelines.offline import forecast_recipe

    yield from (cell.name for cell in cells)
    further = 2 * len(settings.arms) * (len(settings.seeds) - 1)
    yield f"{len(cells):,} cells to choose settings, at most {further:,} more for the other seeds"
    train = settings.recipe.train.model_copy(update={"max_steps": settings.steps or settings.recipe.train.max_steps})
    _, forecast = forecast_recipe(settings.recipe.model_copy(update={"train": train}))
    training = forecast.seconds.get("training", 0.0)
    total = training * (len(cells) - 1 + further) + forecast.seconds.get("reference", 0.0)
    yield (
        f"about {duration(training)} of training per cell on {forecast.device}, at most {duration(total)} for all, "
        "and the measurements besides"
    )
