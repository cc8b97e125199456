"""``prefboost show``: a recipe with every default written out."""

from __future__ import annotations

from typing import Annotated

import typer

from prefboost.cli.printing import print_report

__all__ = ["show_command"]


def show_command(
    recipe: Annotated[str, typer.Argument(help="A YAML file or the name of a shipped recipe; none lists them.")] = "",
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value, e.g. train.loss.beta=0.05")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of YAML.")] = False,
) -> None:
    """Check a recipe and print it with every default written out; without one, list the shipped recipes."""
    from prefboost.recipes.load import dump, list_shipped_recipes, load_any

    if not recipe:
        print_report(list_shipped_recipes(), list_shipped_recipes(), as_json=as_json)
        return
    loaded = load_any(recipe, overrides or [])
    print(loaded.model_dump_json(indent=2) if as_json else dump(loaded), end="\n" if as_json else "")
