"""``prefboost judge``: let a model compare both sides of pairs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from prefboost.cli.bars import waiting
from prefboost.cli.lines import print_changes, print_rejected
from prefboost.cli.options import AskAgain, AskNothing, Partial, Quiet, StoreFolder, with_retry

__all__ = ["judge_command"]


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
    store: StoreFolder = None,
    retry: AskAgain = None,
    dry_run: AskNothing = False,
    partial: Partial = False,
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Compare both sides of pairs, shown in both orders: kind=llm or scorer.

    Prints whether the judge agrees with itself and with the labels, and how far place and length sway it. What is
    finished is kept in OUT.store: the same command after an interruption goes on where it stopped, and a second process
    shares the work. Pairs that could not be judged stand in OUT.rejects.parquet, what was done and the figures in
    OUT.judge.json.
    """
    from prefboost.cli.score import print_planned, progress_bars, settings_by_kind
    from prefboost.runs.generate.generate import CHANGED
    from prefboost.runs.score.judge import Judging, judge, judged_so_far
    from prefboost.runs.score.questions import planned_questions
    from prefboost.scoring.judge import JUDGES
    from prefboost.sources import read
    from prefboost.sources.file_types import file_type_of

    settings = settings_by_kind(with_retry(overrides, retry), Judging, "judge", JUDGES)
    file_type_of(out)
    with waiting(f"reading {source}", hidden=quiet):
        table = read(source, columns=settings.columns)
    if dry_run:
        print_planned(planned_questions(table, settings.judge, settings, out, store), as_json)
        return
    if partial:
        verdicts, figures = judged_so_far(table, settings.judge, out, store=store)
    else:
        with progress_bars(hidden=quiet) as tell:
            verdicts, figures = judge(table, settings.judge, out, spending=settings, store=store, progress=tell)
    rejected = dict(verdicts.rejects["reason"].value_counts(sort=True).iter_rows())
    if as_json:
        changed = verdicts.steps[-1].notes.get(CHANGED)
        counts = {"out": str(out), **figures.record(), "rejected": rejected, **({CHANGED: changed} if changed else {})}
        print(json.dumps(counts, indent=2, ensure_ascii=False))
        return
    print(f"written: {out}")
    print("\n".join(figures.lines()))
    print_changes(verdicts.steps[-1].notes)
    print_rejected(rejected)
