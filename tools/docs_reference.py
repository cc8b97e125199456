"""Write the reference pages from the code itself: settings, tables and facts, errors, command line.

python tools/docs_reference.py            writes docs/reference/
`pages()` is what tools/docs_check.py holds against the files.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from prefboost import errors
from prefboost.recipes import explain
from prefboost.recipes.explain import summary_of
from prefboost.recipes.kinds import OFFLINE, RECIPES
from prefboost.recipes.load import list_shipped_recipes
from prefboost.recipes.tree import Setting, settings_of
from prefboost.runs.pipelines.train_reward import RewardRun
from prefboost.settings import Settings
from prefboost.tables import TABLES

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "reference"
HEAD = "<!-- Written by tools/docs_reference.py (`make docs`); do not edit. -->\n\n"


def pages() -> dict[str, str]:
    """File name -> text of every generated page."""
    made = {
        "settings.md": settings_page(),
        "tables.md": tables_page(),
        "errors.md": errors_page(),
        "cli.md": cli_page(),
    }
    schema = json.dumps(explain.schema(*RECIPES.values()), indent=1, ensure_ascii=False)
    return {name: HEAD + text.rstrip() + "\n" for name, text in made.items()} | {"recipe.schema.json": schema + "\n"}


def settings_page() -> str:
    """Every setting of a recipe."""
    lines = [
        "# Settings",
        "",
        "A recipe is a tree of these; the same objects are the arguments of the library's functions.",
    ]
    lines += [f"`prefboost explain PATH` prints one entry. Shipped recipes: {', '.join(list_shipped_recipes())}.", ""]
    seen: set[type[Settings]] = set()
    for kind, cls in RECIPES.items():
        lines += section("", cls, "", seen) if kind == OFFLINE else section(f"kind: {kind}", cls, "", seen)
    lines += ["# Settings of reward models", "", "Of `prefboost train-reward`; in the library `pb.TrainReward`.", ""]
    lines += section("train_reward", RewardRun, "", seen)
    return "\n".join(lines)


def section(path: str, cls: type[Settings], kind: str, seen: set[type[Settings]]) -> Iterator[str]:
    """A heading, a table of settings, and what stands below; a class is described once, where it is first met."""
    if cls in seen:
        return
    seen.add(cls)
    heading = f"{path} = {kind}" if kind else path or "the recipe"
    yield from (f"{'###' if kind else '##'} {heading}", "", escaped(summary_of(cls)), "")
    settings = [each for each in settings_of(cls) if each.name != "kind"]
    if settings:
        yield from ("| setting | holds | default | |", "|---|---|---|---|")
        yield from (row(each) for each in settings)
        yield ""
    for each in settings:
        below = f"{path}.{each.name}" if path else each.name
        if each.arms:
            for name, arm in each.arms.items():
                yield from section(below, arm, name, seen)
        else:
            for inner in each.classes:
                yield from section(below, inner, "", seen)


def row(each: Setting) -> str:
    """One line of a table of settings."""
    default = f"`{each.default}`" if each.default else "must be given"
    holds = each.holds.replace("kind", f"kind: {', '.join(each.arms)}", 1) if each.arms else each.holds
    return f"| `{each.name}` | {escaped(holds)} | {escaped(default)} | {escaped(each.description)} |"


def escaped(text: str) -> str:
    """Text that does not break a table's cell."""
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def tables_page() -> str:
    """The declared tables, their columns and facts."""
    lines = [
        "# Tables and facts",
        "",
        "Data pass through these tables in this order; facts are checked wherever a table is made.",
        "",
    ]
    lines += ["Prompts and completions are lists of messages `{role, content, extra}`.", ""]
    for spec in TABLES.values():
        lines += [f"## {spec.name}", "", spec.doc, "", "| column | type | | |", "|---|---|---|---|"]
        for column in spec.columns:
            presence = "" if column.required else "may be absent"
            presence += (", " if presence else "") + "may be null" if column.nullable else ""
            dtype = "messages" if "Struct" in str(column.dtype) else str(column.dtype)
            lines.append(f"| `{column.name}` | {dtype} | {escaped(column.doc)} | {presence} |")
        lines += ["", *(f"- Fact: {fact.sentence}." for fact in spec.facts), ""]
    return "\n".join(lines)


def errors_page() -> str:
    """The exception tree."""
    tree = (errors.__doc__ or "").partition("\n\n")[2]
    lines = ["# Errors", "", "```text", inspect.cleandoc(tree), "```", ""]
    lines += [
        "Exit codes: 0; 2 for a mistake that one of these describes; 130 after Ctrl-C; 1 for a fault of prefboost.",
        "",
    ]
    return "\n".join(lines)


def cli_page() -> str:
    """What every verb's --help prints."""
    from prefboost.cli.main import VERBS

    lines = ["# Command line", ""]
    for arguments in ([], *([name] for name in VERBS)):
        lines += [f"## prefboost {' '.join(arguments)}".rstrip(), "", "```text", help_of(arguments), "```", ""]
    return "\n".join(lines)


def help_of(arguments: list[str]) -> str:
    """The help text, at a fixed width."""
    from prefboost.cli.main import main

    os.environ.update(COLUMNS="100", TERMINAL_WIDTH="100", NO_COLOR="1", TERM="dumb")
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        main([*arguments, "--help"])
    return "\n".join(line.rstrip() for line in shown.getvalue().strip().splitlines())


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(f"wrote docs/reference/{name}")
    sys.exit(0)
