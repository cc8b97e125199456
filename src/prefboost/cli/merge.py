"""``prefboost merge``: the shards of one command become the output that one run would have written."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from prefboost.cli.options import Quiet

__all__ = ["merge_command"]


def merge_command(
    shards: Annotated[
        list[Path], typer.Argument(metavar="SHARD...", help="Outputs of all shards, e.g. scored.shard-*-of-8.parquet.")
    ],
    *,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="The output; default: the -o that the shards were given.")
    ] = None,
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Merge the shards of one command into its output; nothing is asked.

    Refuses shards that are missing, stand twice, or differ in settings, input or version, and names them. The output
    equals that of one run: parts of augment and select are put together; of other verbs the store of all shards is
    OUT.store, and the verb is run over it.
    """
    from prefboost.addresses import format_place
    from prefboost.cli.augment import list_report, read_augment
    from prefboost.cli.bars import show_work
    from prefboost.cli.main import VERBS
    from prefboost.cli.printing import print_report
    from prefboost.cli.select import list_counts, read_select
    from prefboost.engines.store.merge import forbid_computation, merge_stores
    from prefboost.runs.augment.shards import merge_shards
    from prefboost.runs.outputs import locate_store
    from prefboost.runs.select.shards import merge_selection
    from prefboost.runs.shards import check_shards, read_shard_record
    from prefboost.scratch import place_scratch
    from prefboost.sources.readers.remote import find_files
    from prefboost.sources.writers.outputs import guard_file

    records = [read_shard_record(Path(path)) for place in shards for path in find_files(place)]
    check_shards(records)
    first = records[0]
    target = first.path.with_name(first.out) if out is None else out
    run = VERBS[first.verb].load()
    arguments: dict[str, Any] = {**first.arguments, "out": target, "quiet": quiet, "as_json": as_json}
    if first.verb == "augment":
        data, settings = read_augment(**first.arguments)
        with show_work(hidden=quiet, begin="merging") as tell:
            report = merge_shards(data, target, settings, [record.path for record in records], progress=tell)
        print_report(report.as_json(), list_report(report), as_json=as_json)
        return
    if first.verb == "select":
        selection = merge_selection(
            [record.path for record in records], read_select(first.arguments["overrides"]), target
        )
        counts = {**selection, "out": format_place(target)}
        print_report(counts, list_counts(counts), as_json=as_json)
        return
    guard_file(target, first.verb, [], [str(path) for path in shards])
    store = locate_store(target)
    merge_stores(store, [locate_store(record.path) for record in records if record.rows])
    with forbid_computation(store), place_scratch(target):
        # Failures were final in the shards; here they are written as rejects and not asked again.
        run(**arguments, retry="none")
