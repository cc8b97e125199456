"""``prefboost generate``: complete prompts with a model, for several goals."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prefboost.cli.bars import bars, waiting
from prefboost.cli.lines import print_asked, print_changes, print_rejected, print_stored
from prefboost.cli.options import AskAgain, AskNothing, Partial, Quiet, StoreFolder, with_retry

if TYPE_CHECKING:
    from prefboost.runs.generate.generate import Generate, Planned, Progress
    from prefboost.tables import Table

__all__ = ["generate_command", "settings_from"]


def generate_command(
    model: Annotated[
        str, typer.Argument(help="A folder, a hub id, package:NAME, openai:NAME (on a server), or replay:FILE.jsonl.")
    ],
    prompts: Annotated[str, typer.Argument(help="A table with prompts, or a .txt file with one prompt a line.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="key=value, e.g. goals=[1,4,7,10] n=4 temperature=0.8 max_tokens=256")
    ] = None,
    *,
    out: Annotated[Path, typer.Option("-o", "--out", help="The .parquet or .jsonl file to write.")] = Path(
        "completions.parquet"
    ),
    store: StoreFolder = None,
    retry: AskAgain = None,
    dry_run: AskNothing = False,
    partial: Partial = False,
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Complete prompts, for several goals.

    Every completion is kept in OUT.store as it finishes: the same command after an interruption goes on where it
    stopped, after a change it asks only for what changed, and a second process shares the work.
    """
    from prefboost.runs.generate.generate import finished_so_far, generate, planned
    from prefboost.runs.generate.prompt_files import read_prompts
    from prefboost.sources.file_types import file_type_of

    settings = settings_from(model, with_retry(overrides, retry))
    file_type_of(out)
    with waiting(f"reading {prompts}", hidden=quiet):
        table = read_prompts(prompts)
    if dry_run:
        _print_planned(planned(table, settings, out, store=store), as_json)
        return
    if partial:
        _print_completed(finished_so_far(table, settings, out, store=store), out, as_json)
        return
    with _progress(hidden=quiet) as show:
        completed = generate(table, settings, out, store=store, progress=show)
    _print_completed(completed, out, as_json)


def settings_from(model: str, overrides: list[str]) -> Generate:
    """Settings from MODEL and ``key=value``: names of `Generate`, of its sampling and of its engine stand alone.

    Raises:
        SettingsError: one line for every wrong override.
    """
    from prefboost.cli.short_names import placed
    from prefboost.engines.engine import Sampling
    from prefboost.engines.kinds import ENGINES, engine_settings_of
    from prefboost.recipes.documents import Document
    from prefboost.recipes.validate import overridden
    from prefboost.runs.generate.generate import Generate

    engine = engine_settings_of(model)
    homes: Mapping[str, str] = {
        **dict.fromkeys(ENGINES[engine["kind"]].model_fields, "engine."),
        **dict.fromkeys(Sampling.model_fields, "sampling."),
        **dict.fromkeys(Generate.model_fields, ""),
    }
    return overridden(Generate, Document({"engine": engine}), placed(overrides, homes))


@contextmanager
def _progress(*, hidden: bool) -> Iterator[Callable[[Progress], None]]:
    with bars("generate", hidden=hidden) as bar:
        task = bar.add_task("generate", total=None, detail="loading")

        def show(progress: Progress) -> None:
            elapsed = bar.tasks[task].elapsed or 0.0
            fresh = progress.done - progress.stored
            rates = f"{fresh / elapsed:.1f} rows/s {progress.tokens / elapsed:.0f} tokens/s" if elapsed > 0 else ""
            if progress.spent.dollars:
                rates += f" ${progress.spent.dollars:.4f}"
            if progress.failed:
                rates += f" {progress.failed} failed"
            if progress.stored:
                rates += f" ({progress.stored} rows were in the store)"
            if progress.done == progress.stored:
                bar.reset(task, total=progress.rows, completed=progress.done, detail=rates if fresh else "")
            else:
                bar.update(task, total=progress.rows, completed=progress.done, detail=rates)

        yield show


def _print_planned(plan: Planned, as_json: bool) -> None:
    from dataclasses import asdict

    if as_json:
        print(json.dumps(asdict(plan), indent=2))
        return
    print(f"{plan.rows:,} completions of {plan.prompts:,} prompts")
    print_stored(plan, "are in the store already")
    print_asked(plan)
    print_rejected(plan.rejected)


def _print_completed(table: Table, out: Path, as_json: bool) -> None:
    from collections import Counter

    from prefboost.runs.generate.generate import rejects_file

    step = table.steps[-1]
    rejected = Counter(table.rejects["reason"].to_list())
    aside = str(rejects_file(out)) if rejected else None
    counts: dict[str, Any] = {
        "rows": len(table), **step.notes, "rejected": dict(rejected), "out": str(out), "rejects": aside,
    }  # fmt: skip
    if as_json:
        print(json.dumps(counts, indent=2, ensure_ascii=False))
        return
    print(f"{len(table):,} completions of {step.notes['prompts']:,} prompts, {step.notes['tokens']:,} tokens: {out}")
    if step.notes["cut at max_tokens"]:
        print(f"{step.notes['cut at max_tokens']:,} were cut at max_tokens")
    print_changes(step.notes)
    print_rejected(rejected)
    if aside:
        print(f"what was set aside: {aside}")
