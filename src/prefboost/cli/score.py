"""``prefboost score``: give completions, or both sides of pairs, scores."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from prefboost.runs.score import Score
    from prefboost.scoring.stored import ScoreProgress, Tell
    from prefboost.settings import Settings

    Chosen = TypeVar("Chosen", bound=Settings)

__all__ = ["progress_bars", "score_command", "settings_by_kind", "settings_from"]


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
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Score completions, or both sides of pairs: kind=implicit, reward_model, rater or rules.

    The same command after an interruption goes on where it stopped. Rows that cannot be scored are set aside in
    OUT.rejects.parquet; what was done, and the fitted scale, stands in OUT.score.json.
    """
    from prefboost.runs.score import counts_of, score
    from prefboost.sources import read
    from prefboost.sources.file_types import file_type_of

    settings = settings_from(overrides or [])
    file_type_of(out)
    table = read(source, columns=settings.columns)
    with progress_bars(hidden=quiet) as tell:
        scored = score(table, settings.scorer, out, progress=tell)
    counts = {**counts_of(scored), "out": str(out)}
    print(json.dumps(counts, indent=2, ensure_ascii=False, default=str)) if as_json else _print_counts(counts)


def settings_from(overrides: list[str]) -> Score:
    """Settings from ``key=value``: names of the scorer's settings stand alone, ``columns.*`` says how to read.

    Raises:
        SettingsError: one line for every wrong override.
    """
    from prefboost.runs.score import Score
    from prefboost.scoring.scorer import SCORERS

    return settings_by_kind(overrides, Score, "scorer", SCORERS)


def settings_by_kind(overrides: list[str], cls: type[Chosen], part: str, arms: Mapping[str, type[Settings]]) -> Chosen:
    """Settings of which one part is chosen by ``kind``: names of its settings stand alone.

    Args:
        overrides: ``key=value``.
        cls: the settings, with the field ``part`` and with ``columns``.
        part: the field that ``kind`` chooses.
        arms: kind -> settings class.

    Raises:
        SettingsError: one line for every wrong override.
    """
    from prefboost.errors import SettingsError
    from prefboost.recipes.documents import Document, with_overrides
    from prefboost.recipes.validate import validate

    known = {"kind", *(name for arm in arms.values() for name in arm.model_fields)}
    written = []
    for text in overrides:
        name = text.partition("=")[0].partition(".")[0].strip()
        if "=" not in text or name not in {*known, "columns"}:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise SettingsError(
                f"override {text!r}: {name} is not a setting here{hint}",
                remedy=f"write key=value; settings here: {', '.join(sorted({*known, 'columns'}))}",
            )
        written.append(text if name == "columns" else f"{part}.{text}")
    if not any(text.startswith(f"{part}.kind=") for text in written):
        raise SettingsError(f"no {part} is named", remedy=f"write kind=, one of {', '.join(arms)}")
    return validate(cls, with_overrides(Document({}), written))


@contextmanager
def progress_bars(*, hidden: bool) -> Iterator[Tell]:
    """A bar a stage on stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(elapsed_when_finished=True),
    )  # fmt: skip
    with Bars(*columns, console=Console(stderr=True), disable=hidden) as bars:
        tasks: dict[str, Any] = {}

        def tell(progress: ScoreProgress) -> None:
            if progress.stage not in tasks:
                tasks[progress.stage] = bars.add_task(progress.stage, total=progress.sequences, rate="")
            task = tasks[progress.stage]
            elapsed = bars.tasks[task].elapsed or 0.0
            fresh = progress.done - progress.stored
            rate = f"{fresh / elapsed:,.1f}/s" if elapsed > 0 and fresh else ""
            rate += f" ({progress.stored:,} of an earlier call)" if progress.stored else ""
            bars.update(task, completed=progress.done, rate=rate)

        yield tell


def _print_counts(counts: dict[str, Any]) -> None:
    rejected = counts.pop("rejected")
    out = counts.pop("out")
    print(f"{counts.pop('rows'):,} rows scored: {out}")
    width = max(map(len, counts), default=0)
    for name, value in counts.items():
        print(f"  {name:<{width}}  {value:.4g}" if isinstance(value, float) else f"  {name:<{width}}  {value}")
    for reason, count in rejected.items():
        print(f"{count:,} set aside: {reason}")
