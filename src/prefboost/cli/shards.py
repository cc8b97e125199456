"""The option ``--shard`` of verbs that ask or compute row by row."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefboost.addresses import format_place
from prefboost.cli.printing import print_report
from prefboost.errors import SettingsError
from prefboost.runs.shards import Shard, refuse_stream, write_shard_record

if TYPE_CHECKING:
    from prefboost.runs.augment.settings import Augment
    from prefboost.runs.select.settings import SelectCompletions
    from prefboost.settings import Settings
    from prefboost.sources import Source
    from prefboost.tables import Table

__all__ = ["OwnPart", "augment_own_part", "select_own_part"]


class OwnPart:
    """The part of a verb's rows that this call works on: a shard of them, or all.

    Args:
        shard: ``I/N``, or None for all rows.
        table: the whole input.
        out: the output of the whole.
        store: what ``--store`` names.

    Raises:
        SettingsError: ``shard`` has another form, or a store is named, which every shard has for itself.
    """

    def __init__(self, shard: str | None, table: Table, out: Path, store: Path | None = None) -> None:
        self.shard = None if shard is None else Shard.parse(shard)
        self.whole = out
        self.table, self.out = table, out
        if self.shard is not None:
            if store is not None and str(store) != "segments:":
                raise SettingsError(
                    "--shard and --store exclude each other: every shard has a store beside its own output",
                    remedy="leave --store out, or write --store segments: alone; prefboost merge makes one of all",
                )
            refuse_stream(table.path or "")
            self.table, self.out = self.shard.take(table), self.shard.locate(out)

    @property
    def is_empty(self) -> bool:
        """Whether the shard has no rows, as happens with more shards than prompts."""
        return self.shard is not None and not len(self.table)

    def finish(self, verb: str, arguments: Mapping[str, Any], settings: Settings, *, as_json: bool) -> None:
        """Record a finished shard, for `merge`; of a whole run there is nothing to record."""
        if self.shard is None:
            return
        write_shard_record(self.shard, self.whole, verb, arguments, settings, len(self.table))
        if self.is_empty:
            print_report({"rows": 0}, ["no row of the input belongs to this shard"], as_json=as_json)
        _announce(self.shard, self.whole)


def _announce(shard: Shard, out: Path) -> None:
    """Say on stderr that a shard is finished, and what joins all; standard output has the counts alone."""
    every = format_place(Shard(0, shard.count).locate(out)).replace(".shard-0-of-", ".shard-*-of-")
    print(f"shard {shard} is finished; when all are: prefboost merge {every}", file=sys.stderr)


def augment_own_part(
    shard: str,
    work: tuple[str | Source, Augment],
    out: Path,
    arguments: Mapping[str, Any],
    *,
    quiet: bool,
    as_json: bool,
) -> None:
    """Make the parts of one shard of `augment`.

    Args:
        shard: ``I/N``.
        work: the source and the settings.
        out: the output of the whole.
        arguments: of which `read_augment` made them, for the record.
        quiet: no progress bar.
        as_json: print the counts as JSON.

    Raises:
        SettingsError: the output is a stream, or ``shard`` has another form.
    """
    from prefboost.cli.bars import show_work
    from prefboost.runs.augment.shards import augment_shard

    data, settings = work
    part = _read_shard(shard, out, arguments["source"])
    with show_work(hidden=quiet, begin="augmenting") as tell:
        parts, goal_pairs = augment_shard(data, out, settings, part, progress=tell)
    write_shard_record(part, out, "augment", arguments, settings, parts)
    counts = {"shard": str(part), "parts": parts, "goal_pairs": goal_pairs, "out": format_place(part.locate(out))}
    print_report(counts, [f"{goal_pairs:,} goal pairs in {parts:,} parts: {counts['out']}"], as_json=as_json)
    _announce(part, out)


def select_own_part(
    shard: str, settings: SelectCompletions, out: Path, arguments: Mapping[str, Any], *, as_json: bool
) -> None:
    """Select the completions of one shard's prompts.

    Args:
        shard: ``I/N``.
        settings: of the verb.
        out: the output of the whole.
        arguments: of the verb, for the record; ``source`` names the input.
        as_json: print the counts as JSON.

    Raises:
        SettingsError: the output is a stream, or ``shard`` has another form.
    """
    from prefboost.runs.select.shards import select_shard

    part = _read_shard(shard, out, arguments["source"])
    counts = select_shard(arguments["source"], settings, out, part)
    write_shard_record(part, out, "select", arguments, settings, 1)
    summary = {"shard": str(part), "rows": counts["rows"], "kept": counts["rows kept"]}
    summary["out"] = format_place(part.locate(out))
    line = f"{summary['kept']:,} of {summary['rows']:,} completions kept: {summary['out']}"
    print_report(summary, [line], as_json=as_json)
    _announce(part, out)


def _read_shard(shard: str, out: Path, source: str) -> Shard:
    refuse_stream(source)
    if str(out) == "-":
        raise SettingsError("a shard cannot go to standard output", remedy="name a file or folder with -o")
    return Shard.parse(shard)
