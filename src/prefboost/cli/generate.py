"""``prefboost generate``: complete prompts with a model, for several goals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prefboost.addresses import format_place
from prefboost.cli.bars import show_wait, show_work
from prefboost.cli.executors import Address, ExecutorName, Workers, read_executor, share_models
from prefboost.cli.options import AskAgain, AskNothing, OneShard, OnMachines, Partial, Quiet, StoreFolder, add_retry
from prefboost.cli.printing import list_changes, list_rejected, print_forecast, print_report

if TYPE_CHECKING:
    from prefboost.runs.generate.generate import Generate
    from prefboost.tables import Table

__all__ = ["generate_command", "read_generate"]


def generate_command(
    model: Annotated[
        str, typer.Argument(help="A folder, a hub id, package:NAME, openai:NAME (on a server), or replay:FILE.jsonl.")
    ],
    prompts: Annotated[str, typer.Argument(help="A table with prompts, or a .txt file with one prompt per line.")],
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
    on: OnMachines = None,
    partial: Partial = False,
    shard: OneShard = None,
    executor: ExecutorName = "local",
    address: Address = None,
    tasks: Workers = None,
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Complete prompts, for several goals.

    OUT.store keeps every completion as it finishes: the same command resumes after an interruption, asks only for what
    changed after a change, and shares the work with a second process.
    """
    from prefboost.cli.shards import OwnPart
    from prefboost.runs.generate.generate import forecast_generation, generate, write_finished_completions
    from prefboost.runs.generate.prompt_files import read_prompts
    from prefboost.sources.writers.file_types import find_file_type

    settings = read_generate(model, add_retry(overrides, retry))
    find_file_type(out)
    with show_wait(f"reading {prompts}", hidden=quiet):
        table = read_prompts(prompts)
    part = OwnPart(shard, table, out, store)
    with share_models(read_executor(executor, address, tasks), settings) as add_workers:
        if dry_run:
            print_forecast(
                add_workers(forecast_generation(part.table, settings, part.out, store=store)), as_json=as_json, on=on
            )
            return
        if not part.is_empty:
            if partial:
                completions = write_finished_completions(part.table, settings, part.out, store=store)
            else:
                with show_work(hidden=quiet, begin="generate") as tell:
                    completions = generate(part.table, settings, part.out, store=store, progress=tell)
            counts = _count(completions, part.out)
            print_report(counts, _list_counts(counts), as_json=as_json)
        if not partial:
            part.finish(
                "generate", {"model": model, "prompts": prompts, "overrides": overrides}, settings, as_json=as_json
            )


def read_generate(model: str, overrides: list[str]) -> Generate:
    """Read settings from MODEL and ``key=value``: names of `Generate`, of its sampling and engine stand alone.

    Raises:
        SettingsError: one line for every wrong override.
    """
    from prefboost.cli.overrides import read_overrides
    from prefboost.engines.engine import Sampling
    from prefboost.engines.kinds import ENGINES, parse_engine
    from prefboost.runs.generate.generate import Generate

    engine = parse_engine(model)
    names = {
        **dict.fromkeys(ENGINES[engine["kind"]].model_fields, "engine."),
        **dict.fromkeys(Sampling.model_fields, "sampling."),
        **dict.fromkeys(Generate.model_fields, ""),
    }
    return read_overrides(Generate, overrides, names, {"engine": engine})


def _count(completions: Table, out: Path) -> dict[str, Any]:
    from collections import Counter

    from prefboost.runs.outputs import locate_rejects

    rejected = dict(Counter(completions.rejects["reason"].to_list()))
    rejects = format_place(locate_rejects(out)) if rejected else None
    notes = completions.steps[-1].notes
    return {"rows": len(completions), **notes, "rejected": rejected, "out": format_place(out), "rejects": rejects}


def _list_counts(counts: Mapping[str, Any]) -> Iterator[str]:
    rows, prompts, tokens = counts["rows"], counts["prompts"], counts["tokens"]
    yield f"{rows:,} completions of {prompts:,} prompts, {tokens:,} tokens: {counts['out']}"
    if counts["cut at max_tokens"]:
        yield f"{counts['cut at max_tokens']:,} were cut at max_tokens"
    yield from list_changes(counts)
    yield from list_rejected(counts["rejected"])
    if counts["rejects"]:
        yield f"rejects: {counts['rejects']}"
