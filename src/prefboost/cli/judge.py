"""``prefboost judge``: let a model compare both sides of pairs."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from prefboost.addresses import format_place
from prefboost.cli.bars import show_work
from prefboost.cli.options import Partial
from prefboost.cli.printing import list_changes, list_rejected, print_report
from prefboost.cli.row_options import RowOptions, with_row_options

__all__ = ["judge_command"]


@with_row_options
def judge_command(
    source: Annotated[str, typer.Argument(metavar="IN", help="Preference pairs: a file, folder or hub id.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="kind=llm engine.kind=local engine.model=DIR, or kind=scorer scorer.kind=reward_model ..."),
    ] = None,
    *,
    out: Annotated[Path, typer.Option("-o", "--out", help="The .parquet or .jsonl file to write.")] = Path(
        "verdicts.parquet"
    ),
    partial: Partial = False,
    options: RowOptions,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Compare both sides of pairs, shown in both orders: kind=llm or scorer.

    Prints how often the judge agrees with itself and with the labels, and how far order and length sway it. OUT.store
    keeps every answer: the same command resumes after an interruption, and shares the work with a second process.
    OUT.rejects.parquet lists pairs that could not be judged; OUT.judge.json holds history and figures.
    """
    from prefboost.cli.overrides import read_kind
    from prefboost.runs.score.judge import Judging, judge, write_finished_verdicts
    from prefboost.runs.score.questions import MODEL_CHANGES, forecast_questions
    from prefboost.scoring.judges.judge import JUDGES
    from prefboost.sources.stored import read_stored

    settings, store = read_kind(options.list_overrides(overrides), Judging, "judge", JUDGES), options.store
    part = options.read_part(out, source, lambda: read_stored(source, columns=settings.columns))
    work = part.table, settings.judge, part.out
    forecast = functools.partial(forecast_questions, part.table, settings.judge, settings, part.out, store)
    with options.open_models(settings, forecast, as_json=as_json) as asks:
        if asks and not part.is_empty:
            if partial:
                verdicts, figures = write_finished_verdicts(*work, store=store)
            else:
                with show_work(hidden=options.quiet) as tell:
                    verdicts, figures = judge(*work, spending=settings, store=store, progress=tell)
            rejected = dict(Counter(verdicts.count_rejects()).most_common())
            record = {"out": format_place(part.out), **figures.record(), "rejected": rejected}
            record |= {MODEL_CHANGES: changes} if (changes := verdicts.steps[-1].notes.get(MODEL_CHANGES)) else {}
            print_report(record, _list_report(record, figures.lines()), as_json=as_json)
        if asks and not partial:
            part.finish("judge", {"source": source, "overrides": overrides}, settings, as_json=as_json)


def _list_report(record: Mapping[str, Any], figures: Iterable[str]) -> Iterator[str]:
    yield f"written: {record['out']}"
    yield from figures
    yield from list_changes(record)
    yield from list_rejected(record["rejected"])
