"""``prefboost synthesize``: preference pairs out of prompts, by RMBoost or one of its rivals."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prefboost.addresses import format_place
from prefboost.cli.bars import show_work
from prefboost.cli.printing import list_rejected, print_report
from prefboost.cli.row_options import RowOptions, with_row_options

if TYPE_CHECKING:
    from prefboost.runs.synthesize.synthesize import Synthesize
    from prefboost.tables import Table

__all__ = ["read_synthesize", "synthesize_command"]


@with_row_options
def synthesize_command(
    method: Annotated[str, typer.Argument(help="rmboost, rlaif, rlcd, west_of_n, clair or ultrafeedback.")],
    prompts: Annotated[str, typer.Argument(help="A table with prompts, or a .txt file with one prompt per line.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            help="key=value, e.g. generator=DIR aspects.task=qa sampling.max_tokens=200 budget.tokens=100000"
        ),
    ] = None,
    *,
    out: Annotated[Path, typer.Option("-o", "--out", help="The .parquet or .jsonl file to write.")] = Path(
        "synthetic.parquet"
    ),
    options: RowOptions,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Make preference pairs of prompts.

    Models are named as for generate: a folder, a hub id, package:NAME, openai:NAME, vllm:MODEL or replay:FILE, e.g.
    generator=DIR judge.engine=openai:NAME. OUT.store keeps every completion and judgement: the same command resumes
    after an interruption. OUT.rejects.parquet lists rejected pairs with the reason; OUT.synthesize.json holds the
    history.
    """
    from prefboost.runs.generate.prompt_files import read_prompts
    from prefboost.runs.synthesize.synthesize import forecast_synthesis, synthesize
    from prefboost.sources import read

    settings = read_synthesize(method, options.list_overrides(overrides))
    named = settings.columns != type(settings.columns)()
    part = options.read_part(
        out, prompts, lambda: read(prompts, columns=settings.columns) if named else read_prompts(prompts)
    )
    work = part.table, settings, part.out
    forecast = functools.partial(forecast_synthesis, *work, store=options.store)
    with options.open_models(settings, forecast, as_json=as_json) as asks:
        if asks and not part.is_empty:
            with show_work(hidden=options.quiet, begin="prompts") as tell:
                pairs = synthesize(*work, store=options.store, progress=tell)
            counts = _count(pairs, part.out)
            print_report(counts, _list_counts(pairs, counts), as_json=as_json)
        if asks:
            arguments = {"method": method, "prompts": prompts, "overrides": overrides}
            part.finish("synthesize", arguments, settings, as_json=as_json)


def read_synthesize(method: str, overrides: list[str]) -> Synthesize:
    """Read settings from METHOD and ``key=value``: names of the method's settings and of `Synthesize` stand alone.

    Raises:
        SettingsError: there is no such method; one line for every wrong override.
    """
    from prefboost.cli.overrides import expand_model, load_settings_class, place_overrides, read_overrides
    from prefboost.errors import SettingsError, suggest_name
    from prefboost.runs.synthesize.synthesize import Synthesize
    from prefboost.synthesis.kinds import METHODS

    if method not in METHODS and ":" not in method:
        raise SettingsError(
            f"there is no method {method!r}{suggest_name(method, METHODS)}",
            remedy=f"one of: {', '.join(METHODS)}; or package.module:Class",
        )
    names = {
        **dict.fromkeys(Synthesize.model_fields, ""),
        **dict.fromkeys(load_settings_class(method, METHODS).model_fields, "method."),
    }
    # The method itself is the first argument of the verb.
    del names["method"]
    placed = place_overrides(map(expand_model, overrides), names)
    # Whole models come first, then single settings of theirs, which would be lost under them.
    placed.sort(key=lambda text: not re.match(r"[^=]*=\{", text))
    # Judges that have settings and no kind are language models.
    parts = [part for part in ("judge", "rescore") if any(text.startswith(f"method.{part}.") for text in placed)]
    unnamed = [part for part in parts if not any(text.startswith(f"method.{part}.kind") for text in placed)]
    placed = [*(f"method.{part}.kind=llm" for part in unnamed), *placed]
    return read_overrides(Synthesize, placed, base={"method": {"kind": method}})


def _count(pairs: Table, out: Path) -> dict[str, Any]:
    from prefboost.runs.outputs import locate_rejects

    rejected = dict(pairs.rejects["reason"].value_counts(sort=True).iter_rows())
    rejects = format_place(locate_rejects(out)) if rejected else None
    return {
        "pairs": len(pairs),
        **pairs.steps[-1].notes,
        "rejected": rejected,
        "out": format_place(out),
        "rejects": rejects,
    }


def _list_counts(pairs: Table, counts: Mapping[str, Any]) -> Iterator[str]:
    import polars as pl

    spent: Mapping[str, float] = counts["spent"]
    yield f"{counts['pairs']:,} pairs of {counts['prompts']:,} prompts: {counts['out']}"
    dollars = f", ${spent['dollars']:,.4f}" if spent["dollars"] else ""
    tokens = spent["prompt_tokens"] + spent["tokens"]
    each = f"; {tokens / counts['pairs']:,.0f} tokens per pair" if counts["pairs"] else ""
    yield (
        f"spent: {spent['requests']:,} calls, {spent['prompt_tokens']:,} tokens read, "
        f"{spent['tokens']:,} written{dollars}{each}"
    )
    # The first offending value of every reason says more than its name.
    first = pl.col("found").drop_nulls().first()
    examples = dict(pairs.rejects.group_by("reason", maintain_order=True).agg(first).iter_rows())
    proposed = counts["pairs"] + sum(counts["rejected"].values())
    for reason, count in counts["rejected"].items():
        yield from list_rejected({reason: count}, total=proposed)
        if examples.get(reason):
            yield f"    e.g. {' '.join(str(examples[reason]).split())[:110]}"
    if counts["rejects"]:
        yield f"rejects: {counts['rejects']}"
