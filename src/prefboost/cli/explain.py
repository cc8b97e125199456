"""``prefboost explain``: the help page of a setting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from prefboost.cli.printing import print_json

if TYPE_CHECKING:
    from rich.table import Table

    from prefboost.recipes.explain import Page
    from prefboost.settings import Settings

__all__ = ["explain_command"]


def explain_command(
    path: Annotated[
        str, typer.Argument(help="Dotted path, e.g. train.loss, train.loss.dpo.beta or train_reward.train.loss.")
    ] = "",
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema of recipes, for editors.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the page as JSON.")] = False,
) -> None:
    """Explain a setting: its meaning, allowed values, default, and the settings below it.

    Paths begin in a recipe; those that begin with augment or train_reward, in the settings of prefboost augment or
    train-reward; those that begin with on_policy or implicit_reward, in a recipe of that kind.
    """
    from prefboost.recipes import explain
    from prefboost.recipes.kinds import RECIPES

    root, below = _find_root(path)
    if schema:
        print_json(explain.schema(*([root] if path else RECIPES.values())))
        return
    page = replace(explain.explain(root, below), path=path)
    if as_json:
        settings = [
            {"name": each.name, "holds": each.holds, "default": each.default, "about": each.description}
            for each in page.settings
        ]
        facts = {"path": page.path, "about": page.about, "holds": page.holds, "default": page.default}
        print_json({**facts, "settings": settings, "kinds": dict(page.arms)})
        return
    _print_page(page)


def _find_root(path: str) -> tuple[type[Settings], str]:
    """Return the settings in which a path begins, and the rest of the path."""
    first, _, rest = path.partition(".")
    if first.replace("-", "_") == "train_reward":
        from prefboost.runs.pipelines.train_reward import RewardRun

        return RewardRun, rest
    from prefboost.recipes.kinds import OFFLINE, RECIPES
    from prefboost.runs.augment.settings import Augment

    if first == "augment":
        return Augment, rest
    if first in Augment.model_fields and first not in RECIPES[OFFLINE].model_fields:
        return Augment, path
    return (RECIPES[first], rest) if first in RECIPES else (RECIPES[OFFLINE], path)


def _print_page(page: Page) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    console.print(Text(page.path or "a recipe", style="bold"), Text(page.about))
    if page.path and page.holds != "settings":
        console.print(Text(f"holds {page.holds}; default {page.default or 'none: it must be given'}", style="dim"))
    if page.arms:
        console.print(_build_table("kinds", [(kind, about) for kind, about in page.arms.items()]))
        console.print(Text(f"more: prefboost explain {page.path}.{next(iter(page.arms))}", style="dim"))
    if page.settings:
        rows = [(each.name, each.holds, each.default or "must be given", each.description) for each in page.settings]
        console.print(_build_table("settings", rows))


def _build_table(title: str, rows: Sequence[tuple[str, ...]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=None, show_header=False)
    for position in range(len(rows[0])):
        table.add_column(no_wrap=position == 0, style="cyan" if position == 0 else None, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table
