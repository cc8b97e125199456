"""``prefboost score``: give completions, or both sides of pairs, scores."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prefboost.addresses import format_place
from prefboost.cli.bars import show_work
from prefboost.cli.options import Partial
from prefboost.cli.printing import list_rejected, print_report
from prefboost.cli.row_options import RowOptions, with_row_options

if TYPE_CHECKING:
    from prefboost.runs.score.score import Score

__all__ = ["read_score", "score_command"]


@with_row_options
def score_command(
    source: Annotated[str, typer.Argument(metavar="IN", help="Completions or pairs: a file, folder or hub id.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="kind=implicit policy=DIR reference=MODEL, or kind=reward_model model=DIR, rater, rules"),
    ] = None,
    *,
    out: Annotated[Path, typer.Option("-o", "--out", help="The .parquet or .jsonl file to write.")] = Path(
        "scored.parquet"
    ),
    partial: Partial = False,
    options: RowOptions,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Score completions, or both sides of pairs: kind=implicit, reward_model, rater or rules.

    OUT.store keeps every score: the same command resumes after an interruption, and shares the work with a second
    process. OUT.rejects.parquet lists rows that cannot be scored; OUT.score.json holds history and fitted scale.
    """
    from prefboost.runs.score.questions import forecast_questions
    from prefboost.runs.score.score import count_scores, score, write_finished_scores
    from prefboost.sources.stored import read_stored

    settings, store = read_score(options.list_overrides(overrides)), options.store
    part = options.read_part(out, source, lambda: read_stored(source, columns=settings.columns))
    work = part.table, settings.scorer, part.out
    forecast = functools.partial(forecast_questions, part.table, settings.scorer, settings, part.out, store)
    with options.open_models(settings, forecast, as_json=as_json) as asks:
        if asks and not part.is_empty:
            if partial:
                scored = write_finished_scores(*work, store=store)
            else:
                with show_work(hidden=options.quiet) as tell:
                    scored = score(*work, spending=settings, store=store, progress=tell)
            counts = {**count_scores(scored), "out": format_place(part.out)}
            print_report(counts, _list_counts(counts), as_json=as_json)
        if asks and not partial:
            part.finish("score", {"source": source, "overrides": overrides}, settings, as_json=as_json)


def read_score(overrides: list[str]) -> Score:
    """Read settings from ``key=value``: names of the scorer's settings stand alone.

    Raises:
        SettingsError: one line for every wrong override.
    """
    from prefboost.cli.overrides import read_kind
    from prefboost.runs.score.score import Score
    from prefboost.scoring.scorer import SCORERS

    return read_kind(overrides, Score, "scorer", SCORERS)


def _list_counts(counts: dict[str, Any]) -> Iterator[str]:
    yield f"{counts['rows']:,} rows scored: {counts['out']}"
    figures = {name: value for name, value in counts.items() if name not in ("rows", "rejected", "out")}
    width = max(map(len, figures), default=0)
    for name, value in figures.items():
        yield f"  {name:<{width}}  {value:.4g}" if isinstance(value, float) else f"  {name:<{width}}  {value}"
    yield from list_rejected(counts["rejected"])
