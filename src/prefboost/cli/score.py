"""``prefboost score``: give completions, or both sides of pairs, scores."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from prefboost.cli.bars import bars, waiting
from prefboost.cli.lines import print_asked, print_rejected, print_stored
from prefboost.cli.options import AskAgain, AskNothing, Partial, Quiet, StoreFolder, with_retry

if TYPE_CHECKING:
    from prefboost.runs.score.questions import PlannedQuestions
    from prefboost.runs.score.score import Score
    from prefboost.scoring.stored import ScoreProgress, Tell
    from prefboost.settings import Settings

    Chosen = TypeVar("Chosen", bound=Settings)

__all__ = ["print_planned", "progress_bars", "score_command", "settings_by_kind", "settings_from"]


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
    store: StoreFolder = None,
    retry: AskAgain = None,
    dry_run: AskNothing = False,
    partial: Partial = False,
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Score completions, or both sides of pairs: kind=implicit, reward_model, rater or rules.

    What is finished is kept in OUT.store: the same command after an interruption goes on where it stopped, and a second
    process shares the work. Rows that cannot be scored are set aside in OUT.rejects.parquet; what was done, and the
    fitted scale, stands in OUT.score.json.
    """
    from prefboost.runs.score.questions import planned_questions
    from prefboost.runs.score.score import counts_of, score, scored_so_far
    from prefboost.sources import read
    from prefboost.sources.file_types import file_type_of

    settings = settings_from(with_retry(overrides, retry))
    file_type_of(out)
    with waiting(f"reading {source}", hidden=quiet):
        table = read(source, columns=settings.columns)
    if dry_run:
        print_planned(planned_questions(table, settings.scorer, settings, out, store), as_json)
        return
    if partial:
        scored = scored_so_far(table, settings.scorer, out, store=store)
    else:
        with progress_bars(hidden=quiet) as tell:
            scored = score(table, settings.scorer, out, spending=settings, store=store, progress=tell)
    counts = {**counts_of(scored), "out": str(out)}
    print(json.dumps(counts, indent=2, ensure_ascii=False, default=str)) if as_json else _print_counts(counts)


def settings_from(overrides: list[str]) -> Score:
    """Settings from ``key=value``: names of the scorer's settings stand alone, ``columns.*`` says how to read.

    Raises:
        SettingsError: one line for every wrong override.
    """
    from prefboost.runs.score.score import Score
    from prefboost.scoring.scorer import SCORERS

    return settings_by_kind(overrides, Score, "scorer", SCORERS)


def settings_by_kind(overrides: list[str], cls: type[Chosen], part: str, arms: Mapping[str, type[Settings]]) -> Chosen:
    """Settings of which one part is chosen by ``kind``: names of its settings stand alone.

    Args:
        overrides: ``key=value``.
        cls: the settings, with the field ``part``; its other fields are named as they are.
        part: the field that ``kind`` chooses.
        arms: kind -> settings class.

    Raises:
        SettingsError: one line for every wrong override.
    """
    from prefboost.cli.short_names import placed
    from prefboost.errors import SettingsError
    from prefboost.recipes.documents import Document
    from prefboost.recipes.validate import overridden

    others = {name for name in cls.model_fields if name != part}
    known = {"kind", *others, *(name for arm in arms.values() for name in arm.model_fields)}
    written = placed(overrides, {**dict.fromkeys(sorted(known), f"{part}."), **dict.fromkeys(others, "")})
    if not any(text.startswith(f"{part}.kind=") for text in written):
        raise SettingsError(f"no {part} is named", remedy=f"write kind=, one of {', '.join(arms)}")
    return overridden(cls, Document({}), written)


@contextmanager
def progress_bars(*, hidden: bool) -> Iterator[Tell]:
    """A bar a stage on stderr."""
    with bars("{task.description}", hidden=hidden) as shown:
        tasks: dict[str, Any] = {}

        def tell(progress: ScoreProgress) -> None:
            if progress.stage not in tasks:
                tasks[progress.stage] = shown.add_task(progress.stage, total=progress.sequences, detail="")
            task = tasks[progress.stage]
            elapsed = shown.tasks[task].elapsed or 0.0
            fresh = progress.done - progress.stored
            rate = f"{fresh / elapsed:,.1f}/s" if elapsed > 0 and fresh else ""
            rate += f" {progress.spent.prompt_tokens + progress.spent.tokens:,} tokens" if progress.spent.tokens else ""
            rate += f" ${progress.spent.dollars:.4f}" if progress.spent.dollars else ""
            rate += f" ({progress.stored:,} were in the store)" if progress.stored else ""
            shown.update(task, completed=progress.done, detail=rate)

        yield tell


def print_planned(plan: PlannedQuestions, as_json: bool) -> None:
    """What would be asked."""
    from dataclasses import asdict

    if as_json:
        print(json.dumps(asdict(plan), indent=2))
        return
    if not plan.questions and not plan.stored:
        print(f"{plan.rows:,} rows, computed on this machine: nothing is asked")
        return
    print(f"{plan.questions:,} questions about {plan.rows:,} rows")
    print_stored(plan, "are answered in the store already")
    print_asked(plan)


def _print_counts(counts: dict[str, Any]) -> None:
    rejected = counts.pop("rejected")
    out = counts.pop("out")
    print(f"{counts.pop('rows'):,} rows scored: {out}")
    width = max(map(len, counts), default=0)
    for name, value in counts.items():
        print(f"  {name:<{width}}  {value:.4g}" if isinstance(value, float) else f"  {name:<{width}}  {value}")
    print_rejected(rejected)
