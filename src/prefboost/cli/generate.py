"""``prefboost generate``: complete prompts with a model, for several goals."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prefboost.addresses import format_place
from prefboost.cli.bars import show_work
from prefboost.cli.options import Partial
from prefboost.cli.printing import list_changes, list_rejected, print_report
from prefboost.cli.row_options import RowOptions, with_row_options

if TYPE_CHECKING:
    from prefboost.runs.generate.generate import Generate
    from prefboost.tables import Table

__all__ = ["generate_command", "read_generate"]


@with_row_options
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
    partial: Partial = False,
    options: RowOptions,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Complete prompts, for several goals.

    OUT.store keeps every completion as it finishes: the same command resumes after an interruption, asks only for what
    changed after a change, and shares the work with a second process.
    """
    from prefboost.runs.generate.generate import forecast_generation, generate, write_finished_completions
    from prefboost.runs.generate.prompt_files import read_stored_prompts

    settings, store = read_generate(model, options.list_overrides(overrides)), options.store
    part = options.read_part(out, prompts, lambda: read_stored_prompts(prompts))
    work = part.table, settings, part.out
    forecast = functools.partial(forecast_generation, *work, store=store)
    with options.open_models(settings, forecast, as_json=as_json) as asks:
        if asks and not part.is_empty:
            if partial:
                completions = write_finished_completions(*work, store=store)
            else:
                with show_work(hidden=options.quiet, begin="generate") as tell:
                    completions = generate(*work, store=store, progress=tell)
            counts = _count(completions, part.out)
            print_report(counts, _list_counts(counts), as_json=as_json)
        if asks and not partial:
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
