"""``prefboost select``: keep the best completions, to fine-tune on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prefboost.addresses import format_place
from prefboost.cli.executors import Address, ExecutorName, Tasks, read_executor, select_by
from prefboost.cli.options import OnCores, OneShard
from prefboost.cli.printing import list_estimate, print_report
from prefboost.cli.terminal import open_output

if TYPE_CHECKING:
    from prefboost.runs.select.settings import SelectCompletions

__all__ = ["list_counts", "print_select_preview", "read_select", "select_command"]


def select_command(
    source: Annotated[str, typer.Argument(metavar="IN", help="Scored completions: a file, folder or hub id.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="kind=best_of_n count=1, or kind=score_at_least score=8, rejection_sampling"),
    ] = None,
    *,
    out: Annotated[
        Path, typer.Option("-o", "--out", help="A folder or a file: .parquet, .jsonl[.gz|.zst]; - for standard output.")
    ] = Path("selected.jsonl"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier output of select.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count what would be kept of the first records; write nothing.")
    ] = False,
    on: OnCores = None,
    shard: OneShard = None,
    executor: ExecutorName = "local",
    address: Address = None,
    tasks: Tasks = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Keep the best completions of every prompt: kind=best_of_n, score_at_least or rejection_sampling.

    Writes prompt and completion as TRL's SFTTrainer reads them; format=prefboost writes every column, for other verbs.
    OUT.rejects.parquet lists the other completions with the reason; OUT.select.json holds the history. A folder has its
    rows in data/, file_records=N records of the input per file, rejects.parquet, and prefboost.json with the history
    and checksums.
    """
    settings = read_select(overrides or [])
    if dry_run:
        print_select_preview((source, settings), on, (executor, shard, out), as_json=as_json)
        return
    work = read_executor(executor, address, tasks, {"--shard": shard, "-o -": str(out) == "-" or None})
    if shard is not None:
        from prefboost.cli.shards import select_own_part

        arguments = {"source": source, "overrides": overrides or []}
        select_own_part(shard, settings, out, arguments, as_json=as_json)
        return
    with open_output(out) as target:
        selection = select_by(work, source, settings, target, overwrite=overwrite)
        counts = {**selection, "out": format_place(out) if target == out else "standard output"}
        print_report(counts, list_counts(counts), as_json=as_json)


def print_select_preview(
    work: tuple[str, SelectCompletions], on: list[str] | None, places: tuple[str, str | None, Path], *, as_json: bool
) -> None:
    """Print what would be kept of the first records, and an estimate (`estimate_select`)."""
    from prefboost.cli.row_estimates import estimate_select
    from prefboost.runs.select.select import preview_selection

    counts = preview_selection(*work)
    estimate = estimate_select(work, on, places, counts)
    lines = list_counts({**counts, "out": f"the first {counts['rows']:,} completions"})
    record = {**counts, **({"estimate": estimate} if estimate else {})}
    print_report(record, [*lines, *list_estimate(estimate)], as_json=as_json)


def read_select(overrides: list[str]) -> SelectCompletions:
    """Read settings from ``key=value``: names of the strategy's settings stand alone.

    Raises:
        SettingsError: one line for every wrong override.
    """
    from prefboost.cli.overrides import read_kind
    from prefboost.preferences.score_selection import SELECT_STRATEGIES
    from prefboost.runs.select.settings import SelectCompletions

    return read_kind(overrides, SelectCompletions, "strategy", SELECT_STRATEGIES)


def list_counts(counts: Mapping[str, Any]) -> list[str]:
    """List the counts of a selection as lines for people."""
    means = [
        f"{counts[name]:.2f}" if counts[name] is not None else "none" for name in ("score mean", "score mean kept")
    ]
    done = [f"{counts['out']} exists already, written by the same command: nothing to do"]
    return [
        *(done if counts.get("skipped") else ()),
        f"{counts['kept']:,} of {counts['rows']:,} completions kept, of {counts['prompts kept']:,} of "
        f"{counts['prompts']:,} prompts: {counts['out']}",
        f"mean score               {means[0]} of all, {means[1]} of those kept",
        *(f"{count:,} not kept: {reason}" for reason, count in counts["rejected"].items()),
    ]
