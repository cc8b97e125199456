"""Rows of a source, part by part, selected as over the whole: duplicates are told across parts by hash buckets."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
import polars as pl

from prefboost.preferences.select import Select
from prefboost.runs.augment.selection import Selection, find_owners, hash_rows
from prefboost.runs.augment.settings import Augment
from prefboost.runs.ray.data_plan import (
    Item,
    ReadPlan,
    Spread,
    gather_files,
    list_items,
    read_facts,
    read_groups,
    scatter,
)
from prefboost.sources.collection import convert_batch
from prefboost.sources.layouts.fitted import LATER_LAYOUTS
from prefboost.sources.layouts.unmapped import refuse_unmapped
from prefboost.sources.readers.frames import list_frames, read_frame, write_frame
from prefboost.tables import Step, Table

__all__ = ["Rows", "compare_rows", "find_later", "note_rows"]


@dataclass(frozen=True)
class Rows:
    """Rows of a source, which tasks read and select part by part.

    Args:
        plan: of the source.
        settings: ``select``, ``decontaminate``, ``test_share``, ``seed`` and ``tokenizer`` play a part.
        whole: select as `prefboost.preferences.select.select` does of the whole table, in the order of the file;
            else as a stream of batches is selected, in the order of the parts.
        begin: of ``whole``, a verb before the selection that decides row by row; importable by name.
    """

    plan: ReadPlan
    settings: Augment
    whole: bool = False
    begin: Callable[[Table], Table] | None = None

    @property
    def dedupe(self) -> str:
        """Duplicates that are dropped: none, exact or prompt."""
        return "none" if self.settings.select is None else self.settings.select.dedupe

    def read(self, item: Item) -> Iterator[tuple[int, Table]]:
        """Yield the number and the rows of each part of an item."""
        opened = self.plan.opened
        facts = replace(read_facts(self.plan.folder, self.plan.run), split=opened.split)
        for number, batch in read_groups(self.plan, item):
            table = refuse_unmapped(convert_batch(opened.source, batch, opened.layout, facts))
            # As `prefboost.sources.read.read` orders a table of several batches.
            if self.whole and (len(self.plan.pieces) > 1 or LATER_LAYOUTS in table.steps[0].notes):
                frame, rejects = (each.sort("row", maintain_order=True) for each in (table.frame, table.rejects))
                table = replace(table, frame=frame, rejects=rejects)
            yield number, table

    def start(self, table: Table) -> Table:
        """Do what comes before the selection."""
        return table if self.begin is None else self.begin(table)

    def select(self, number: int, table: Table) -> Table:
        """Select the rows of a part, of which `compare_rows` has told what other parts have."""
        table, how = self.start(table), self.settings.select
        selected = self.open_selection(number).apply(table)
        return fuse_steps(selected, len(table.steps), how) if self.whole and how is not None else selected

    def open_selection(self, number: int) -> Selection:
        """Open a selection that remembers what the parts before this one would have left in it."""
        selection = copy.copy(load_selection(self.settings.model_dump_json(), self.plan.run))
        for name in ("owners", "seen"):
            paths = list_frames(self.plan.folder, f"later-{name}.*.arrow")
            if paths:
                later = pl.concat([read_frame(path).filter(pl.col("part") == number) for path in paths])
                if name == "owners":
                    selection.owners = later.select(_prompt="key", _owner="id")
                else:
                    selection.seen = np.sort(later["key"].to_numpy())
        return selection


@lru_cache(maxsize=1)
def load_selection(settings: str, run: str) -> Selection:
    """Load tokenizer and benchmarks once for all tasks of a process."""
    assert run
    return Selection(Augment.model_validate_json(settings))


def fuse_steps(table: Table, first: int, how: Select) -> Table:
    """Make one step of select and of its duplicates, which `Selection` tells by steps of their own."""
    steps = [step for step in table.steps[first:] if step.verb in ("select", "dedupe")]
    rejected = {reason: count for step in steps for reason, count in step.rejected.items()}
    whole = Step("select", how.model_dump(), steps[0].rows_in, steps[-1].rows_out, dict(sorted(rejected.items())))
    return replace(table, steps=(*table.steps[:first], whole, *table.steps[first + len(steps) :]))


def compare_rows(spread: Spread, rows: Rows) -> None:
    """Find the rows that are repeated in later parts, where they are dropped: first by prompt, then by row."""
    items, plan = list_items(rows.plan, spread.tasks), rows.plan
    passes: Mapping[str, Any] = {"owners": rows.dedupe == "prompt", "seen": rows.dedupe != "none"}
    for name in (name for name, is_due in passes.items() if is_due):
        for _ in spread(partial(note_rows, rows, name), items):
            pass
        for _ in spread(partial(find_later, plan, name), range(plan.buckets)):
            pass


def note_rows(rows: Rows, name: str, item: Item) -> None:
    """Write hashes of the rows of an item's parts, with the number of the part and where each comes first."""
    for number, table in rows.read(item):
        selection = rows.open_selection(number)
        limited = selection.limit(rows.start(table))
        if name == "owners":
            hashes = find_owners(limited.frame).rename({"_prompt": "key", "_owner": "id"})
            keys = limited.frame["prompt"].hash(0)
        else:
            limited = selection.drop_repeated_prompts(limited)
            keys = hash_rows(limited.frame)
            hashes = keys.unique(maintain_order=True).alias("key").to_frame()
        first = pl.lit(number, dtype=pl.Int64)
        if rows.whole:
            # The rows of a part are in the order of the file, though other parts may lie between them.
            rank = pl.DataFrame({"key": keys, "first": limited.frame["row"]}).unique(
                "key", keep="first", maintain_order=True
            )
            hashes, first = hashes.join(rank, on="key", maintain_order="left"), pl.col("first")
        hashes = hashes.with_columns(part=pl.lit(number, dtype=pl.Int64), first=first)
        scatter(rows.plan, hashes, "key", f"noted-{name}", number)


def find_later(plan: ReadPlan, name: str, bucket: int) -> None:
    """Write the hashes of a bucket that another part has earlier, for each later part."""
    noted = gather_files(plan.folder, f"noted-{name}.{bucket}")
    if noted.height:
        first = noted.sort("first").unique("key", keep="first", maintain_order=True)
        later = noted.select("key", "part").join(first, on="key", suffix="_first")
        later = later.filter(pl.col("part") != pl.col("part_first"))
        write_frame(later, plan.folder / f"later-{name}.{bucket}.arrow")
