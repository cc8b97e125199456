"""``prefboost synthesize``: preference pairs out of prompts, by RMBoost or one of its rivals."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prefboost.cli.bars import bars, waiting
from prefboost.cli.options import AskAgain, Quiet, with_retry

if TYPE_CHECKING:
    from prefboost.runs.synthesize.synthesize import Rehearsed, SynthesisProgress, Synthesize
    from prefboost.tables import Table

__all__ = ["settings_from", "synthesize_command", "with_models"]

_ENGINES = ("generator", "editor", "engine", "reviewer")
"""Settings that hold a model, whose value may be written as MODEL."""


def synthesize_command(
    method: Annotated[str, typer.Argument(help="rmboost, rlaif, rlcd, west_of_n, clair or ultrafeedback.")],
    prompts: Annotated[str, typer.Argument(help="A table with prompts, or a .txt file with one prompt a line.")],
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
    retry: AskAgain = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show calls, tokens and cost, ask for nothing.")] = False,
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Make preference pairs of prompts.

    Models are written as for generate: a folder, a hub id, package:NAME, openai:NAME, vllm:MODEL or replay:FILE, e.g.
    generator=DIR judge.engine=openai:NAME. Every completion and judgement is kept in OUT.store as it comes: the same
    command after an interruption goes on where it stopped. What is set aside stands in OUT.rejects.parquet with the
    reason, what was done in OUT.synthesize.json.
    """
    from prefboost.runs.generate.prompt_files import read_prompts
    from prefboost.runs.synthesize.synthesize import rehearsed, synthesize
    from prefboost.sources import read
    from prefboost.sources.file_types import file_type_of

    settings = settings_from(method, with_retry(overrides, retry))
    file_type_of(out)
    named = settings.columns != type(settings.columns)()
    with waiting(f"reading {prompts}", hidden=quiet):
        table = read(prompts, columns=settings.columns) if named else read_prompts(prompts)
    if dry_run:
        _print_rehearsed(rehearsed(table, settings, out), as_json)
        return
    with _progress(hidden=quiet) as show:
        pairs = synthesize(table, settings, out, progress=show)
    _print_pairs(pairs, out, as_json)


def settings_from(method: str, overrides: list[str]) -> Synthesize:
    """Settings from METHOD and ``key=value``: names of the method's settings and of `Synthesize` stand alone.

    Raises:
        SettingsError: there is no such method; one line for every wrong override.
    """
    from prefboost.cli.short_names import placed
    from prefboost.errors import SettingsError
    from prefboost.recipes.documents import Document
    from prefboost.recipes.validate import overridden
    from prefboost.runs.synthesize.synthesize import Synthesize
    from prefboost.synthesis.kinds import METHODS

    if method not in METHODS and ":" not in method:
        near = difflib.get_close_matches(method, METHODS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise SettingsError(
            f"there is no method {method!r}{hint}", remedy=f"one of: {', '.join(METHODS)}; or package.module:Class"
        )
    homes = {
        **dict.fromkeys(Synthesize.model_fields, ""),
        **dict.fromkeys(_class_of(method).model_fields, "method."),
    }
    del homes["method"]
    written = placed(map(with_models, overrides), homes)
    written.sort(key=lambda text: not re.match(r"[^=]*=\{", text))  # whole models first, then settings of theirs
    written = [*(f"method.{part}.kind=llm" for part in _unnamed_judges(written)), *written]
    return overridden(Synthesize, Document({"method": {"kind": method}}), written)


def _class_of(method: str) -> type[Any]:
    """The settings of a method: a built-in one, or anyone's class."""
    from prefboost.errors import SettingsError
    from prefboost.settings import load_class
    from prefboost.synthesis.kinds import METHODS

    if method in METHODS:
        return METHODS[method]
    try:
        return load_class(method)
    except ValueError as error:
        raise SettingsError(str(error), remedy="the class must be importable from here") from error


def with_models(override: str) -> str:
    """``generator=MODEL`` as the settings of an engine; everything else as it is."""
    from prefboost.engines.kinds import engine_settings_of

    key, _, value = override.partition("=")
    last, value = key.strip().rpartition(".")[2], value.strip()
    if last in _ENGINES and not value.startswith("{"):
        return f"{key.strip()}={json.dumps(engine_settings_of(value))}"
    if last == "pool" and not value.startswith("[{"):
        models = [part.strip() for part in value.strip("[]").split(",")]
        return f"{key.strip()}={json.dumps([engine_settings_of(model) for model in models])}"
    return override


def _unnamed_judges(written: list[str]) -> list[str]:
    """Judges whose settings are given without a kind: those are language models."""
    parts = [part for part in ("judge", "rescore") if any(text.startswith(f"method.{part}.") for text in written)]
    return [part for part in parts if not any(text.startswith(f"method.{part}.kind") for text in written)]


@contextmanager
def _progress(*, hidden: bool) -> Iterator[Callable[[SynthesisProgress], None]]:
    with bars("prompts", hidden=hidden) as bar:
        task = bar.add_task("prompts", total=None, detail="loading")

        def show(progress: SynthesisProgress) -> None:
            spent = progress.spent
            stage = f"{progress.stage} {progress.rows_done:,}/{progress.rows:,}" if progress.stage else ""
            stage += f" {spent.prompt_tokens + spent.tokens:,} tokens" if spent.tokens else ""
            stage += f" ${spent.dollars:.4f}" if spent.dollars else ""
            bar.update(task, total=progress.prompts, completed=progress.done, detail=stage)

        yield show


def _print_rehearsed(plan: Rehearsed, as_json: bool) -> None:
    from dataclasses import asdict

    if as_json:
        print(json.dumps(asdict(plan), indent=2))
        return
    print(f"{plan.pairs:,} pairs of {plan.prompts:,} prompts, before filters")
    for stage, count in plan.stages.items():
        about = "about " if count.estimated else ""
        dollars = "" if count.dollars is None else f", ${count.dollars:,.2f}"
        print(
            f"{stage}: {count.calls:,} calls, {about}{count.prompt_tokens:,} tokens to read, "
            f"at most {count.most_tokens:,} to write{dollars}"
        )
    if plan.texts_scored:
        print(f"{plan.texts_scored:,} completions to score")
    if plan.spent.requests:
        print(
            f"{plan.spent.requests:,} calls were made before with this output; what its store holds is not asked again"
        )
    if plan.again:
        print(f"{plan.again:,} calls failed or were refused before, and are asked again (--retry none leaves them)")
    if plan.refused:
        print(f"{plan.refused:,} calls were refused before, and are not asked again (--retry refused asks them)")


def _print_pairs(table: Table, out: Path, as_json: bool) -> None:
    from prefboost.runs.generate.generate import rejects_file

    step, rejects = table.steps[-1], table.rejects
    rejected = dict(rejects["reason"].value_counts(sort=True).iter_rows())
    aside = str(rejects_file(out)) if rejected else None
    counts: dict[str, Any] = {
        "pairs": len(table), **step.notes, "rejected": rejected, "out": str(out), "rejects": aside,
    }  # fmt: skip
    if as_json:
        print(json.dumps(counts, indent=2, ensure_ascii=False))
        return
    spent: Mapping[str, float] = step.notes["spent"]
    print(f"{len(table):,} pairs of {step.notes['prompts']:,} prompts: {out}")
    dollars = f", ${spent['dollars']:,.4f}" if spent["dollars"] else ""
    each = f"; {(spent['prompt_tokens'] + spent['tokens']) / len(table):,.0f} tokens a pair" if len(table) else ""
    print(
        f"spent: {spent['requests']:,} calls, {spent['prompt_tokens']:,} tokens read, "
        f"{spent['tokens']:,} written{dollars}{each}"
    )
    first = dict(rejects.group_by("reason", maintain_order=True).agg(_first_found()).iter_rows())
    proposed = len(table) + sum(rejected.values())
    for reason, count in rejected.items():
        print(f"{count:,} ({count / proposed:.1%}) set aside: {reason}")
        if first.get(reason):
            print(f"    e.g. {' '.join(str(first[reason]).split())[:110]}")
    if aside:
        print(f"what was set aside: {aside}")


def _first_found() -> Any:
    """The first thing that was found, as an aggregate of rejects."""
    import polars as pl

    return pl.col("found").drop_nulls().first()
