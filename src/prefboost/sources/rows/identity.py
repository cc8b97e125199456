"""Identity of rows and prompts in the whole source: an id of its own for each row, and a prompt's id by its content.

A source's id that stands for two prompts would pair the answers to different questions; one that restarts in a second
file loses prompts; one that numbers rows parts the answers to one question. So the id of a prompt is believed where it
and the prompt's content stand for each other alone, in the whole source, and the content's hash takes its place
everywhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import polars as pl

from prefboost.sources.layouts.layout import INSIDE, Layout
from prefboost.sources.messages.conversations import hash_prompts
from prefboost.sources.readers.raw import Reader
from prefboost.sources.rows.completions import INDEX
from prefboost.sources.rows.faults import FAULT
from prefboost.sources.rows.parts import (
    convert_prompts,
    find_holder,
    has_messages,
    read_column,
    read_inner_values,
    read_labels,
)
from prefboost.tables import Step, Table, conform
from prefboost.tables.groups import group_numbers

__all__ = [
    "NO_IDS",
    "PARTED",
    "REPEATED",
    "SHARED",
    "Convert",
    "DisputedIds",
    "assign_ids",
    "collect_disputes",
    "collect_repeated",
    "find_disputes",
    "find_repeated_ids",
    "find_source_disputes",
    "list_id_hashes",
    "list_id_pairs",
    "settle_frame",
    "settle_ids",
]

SHARED = "rows whose prompt id other prompts have too"
PARTED = "rows whose prompt has other ids too"
"""Notes of the step ``read``: how many rows are told apart, or brought together, by the content of their prompt."""


def _build_no_hashes() -> pl.Series:
    return pl.Series([], dtype=pl.UInt64)


Convert = Callable[[pl.DataFrame, Layout], pl.DataFrame]


@dataclass(frozen=True)
class DisputedIds:
    """Ids and prompts that disagree.

    Args:
        ids: hashes of the ids that stand for several prompts.
        prompts: hashes of the contents of prompts that stand under several ids.
    """

    ids: pl.Series = field(default_factory=_build_no_hashes)
    prompts: pl.Series = field(default_factory=_build_no_hashes)

    def __bool__(self) -> bool:
        return bool(self.ids.len() or self.prompts.len())


def find_source_disputes(
    reader: Reader, layout: Layout, names: Sequence[str], convert: Convert, split: tuple[str, str] | None = None
) -> DisputedIds:
    """Find the ids of a source that disagree with its prompts (see `list_id_pairs`), at 16 bytes per prompt."""
    return collect_disputes(list_id_pairs(reader, layout, names, convert, split))


def list_id_pairs(
    reader: Reader, layout: Layout, names: Sequence[str], convert: Convert, split: tuple[str, str] | None = None
) -> Iterator[pl.DataFrame]:
    """List the hashes of ids and prompts in each batch, as columns ``id`` and ``content``; none where there are no ids.

    Runs over the source once, without the columns of its answers where the format allows it.

    Args:
        reader: of the source.
        layout: what its columns mean.
        names: of its columns.
        convert: makes rows of records, needed where the prompt is inside the answers.
        split: the column that tells splits apart and the one that is read; None reads all.
    """
    if "prompt_id" not in layout.parts:
        return
    answers = {layout.parts[part] for part in ("completions", *INSIDE) if part in layout.parts}
    answers |= {*layout.aspects.values(), *layout.aspects_rejected.values()}
    # Later records of other formats may have further parts of the question, which no list of names holds.
    settled = Path(reader.path).suffix in (".parquet", ".arrow", ".feather") and Path(reader.path).is_file()
    columns = [name for name in layout.list_heads(names) if name not in answers] if settled else None
    sides = [side for side in ("chosen", "rejected") if side in layout.parts]

    beside = "prompt" in layout.parts and layout.shape != "preference"

    for raw in (raw for batch in reader.batches(columns, None) for raw in batch.frames):
        frame = raw if split is None else raw.filter(read_labels(read_column(raw, split[0])) == split[1])
        # Where answers hold whole conversations, the prompt or a part of it has to be taken out of them.
        apart = beside and not any(has_messages(frame, layout, side) for side in sides)
        rows = convert_prompts(frame, layout) if apart else convert(frame, layout)
        yield _hash_pairs(rows.filter(pl.col(FAULT).is_null()))


def find_disputes(tables: Iterable[Table]) -> DisputedIds:
    """Find the ids of a source that plugs in that disagree with its prompts."""
    return collect_disputes(_hash_pairs(table.frame) for table in tables)


def settle_ids(table: Table, disputed: DisputedIds) -> Table:
    """Give a table of a source that plugs in ids that are equal for equal prompts alone, and note what changed."""
    if not disputed:
        return table
    frame, counts = settle_frame(table.frame, disputed)
    first = table.steps[0] if table.steps else Step("read", {}, frame.height, frame.height)
    steps = (replace(first, notes={**first.notes, **counts}), *table.steps[1:])
    return replace(table, frame=conform(frame, table.spec, path=table.path), steps=steps)


def _hash_pairs(rows: pl.DataFrame) -> pl.DataFrame:
    pairs = pl.DataFrame({"id": rows["prompt_id"], "content": hash_prompts(rows["prompt"])}).drop_nulls()
    return pairs.select(pl.all().hash(0)).unique()


def collect_disputes(pairs: Iterable[pl.DataFrame]) -> DisputedIds:
    """Collect what disagrees among hashes of ids and prompts, from `list_id_pairs`."""
    seen = pl.DataFrame(schema={"id": pl.UInt64, "content": pl.UInt64})
    for each in pairs:
        # Unique after each batch, so that memory grows with prompts, not with rows.
        seen = pl.concat([seen, each]).unique()
    # The pairs are different ones, so an id that occurs twice has two prompts, and the reverse.
    return DisputedIds(
        seen.filter(pl.col("id").is_duplicated())["id"].unique(),
        seen.filter(pl.col("content").is_duplicated())["content"].unique(),
    )


def settle_frame(frame: pl.DataFrame, disputed: DisputedIds) -> tuple[pl.DataFrame, dict[str, int]]:
    """Give rows ids that are equal for equal prompts alone.

    Args:
        frame: with ``prompt`` and ``prompt_id``.
        disputed: of the whole source, so that a row's id does not depend on the batch it comes in.

    Returns:
        the rows, with the source's own id as ``given_prompt_id`` wherever some are disputed; and the notes `SHARED` and
        `PARTED`.
    """
    if not disputed:
        return frame, {}
    content = hash_prompts(frame["prompt"])
    hashes = pl.DataFrame({"id": frame["prompt_id"], "content": content}).select(pl.all().hash(0))
    shared = hashes["id"].is_in(disputed.ids.implode())
    parted = hashes["content"].is_in(disputed.prompts.implode())
    source_ids = frame["prompt_id"]
    frame = frame.with_columns(
        source_ids.alias("given_prompt_id"), content.zip_with(shared | parted, source_ids).alias("prompt_id")
    )
    counts = {SHARED: int(shared.sum()), PARTED: int((parted & ~shared).sum())}
    return frame, {name: count for name, count in counts.items() if count}


REPEATED = "ids made distinct"
"""Note of the step ``read``: how many rows bear an id that others bear too, so that their row was added to it."""

NO_IDS = pl.Series("id", [], dtype=pl.UInt64)
"""No id stands there twice."""


def find_repeated_ids(reader: Reader, layout: Layout, rows: int | None) -> pl.Series:
    """Find the ids that occur more than once in the source, as hashes; empty where the source gives none.

    Memory grows by eight bytes an id.
    """
    return collect_repeated(list_id_hashes(reader, layout, rows))


def list_id_hashes(reader: Reader, layout: Layout, rows: int | None) -> Iterator[pl.Series]:
    """List the hashes of ids of pairs or completions in each frame; nothing where the source gives none.

    Runs over the source once, reading only the column that holds the ids where the format allows it.
    """
    part = next((part for part in ("pair_id", "completion_id") if part in layout.parts), None)
    if part is None:
        return
    holder = find_holder(layout, part)
    # Nulls are dropped first, since the hash of null is a number too.
    for batch in reader.batches(None if "." in holder else [holder], rows):
        for frame in batch.frames:
            yield read_labels(read_inner_values(frame, layout, part)).drop_nulls().hash(0)


def collect_repeated(hashes: Iterable[pl.Series]) -> pl.Series:
    """Collect the hashes that occur more than once."""
    # Sorted hashes show repeats as neighbours, at eight bytes per id and without a table of texts.
    ordered = np.concatenate([np.empty(0, np.uint64), *(each.to_numpy() for each in hashes)])
    ordered.sort()
    return pl.Series("id", np.unique(ordered[1:][ordered[1:] == ordered[:-1]]), dtype=pl.UInt64)


def assign_ids(frame: pl.DataFrame, repeated: pl.Series) -> tuple[pl.DataFrame, int]:
    """Give completions their ids where the source gives none, and make those distinct that it gives more than once.

    A repeated id becomes ``id#row``, of several completions of one record ``id#row/position``. Which rows bear it
    depends on the whole source alone, not on the order in which its batches come.

    Args:
        frame: rows with ``row``; completions also with `INDEX`, which is dropped.
        repeated: from `find_repeated_ids`.

    Returns:
        the frame, and how many ids were made distinct.
    """
    key = "pair_id" if "pair_id" in frame.columns else "completion_id"
    count = 0
    if repeated.len() and key in frame.columns:
        again = frame.select(pl.col(key).hash(0).is_in(repeated.implode()) & pl.col(key).is_not_null()).to_series()
        where = ["row", INDEX] if INDEX in frame.columns else ["row"]
        distinct = pl.format("{}#" + "/".join(["{}"] * len(where)), key, *where)
        frame = frame.with_columns(pl.when(again).then(distinct).otherwise(key).alias(key))
        count = int(again.sum())
    if INDEX in frame.columns:
        position = pl.int_range(pl.len()).over(group_numbers(frame["prompt_id"]))
        generated = pl.format("{}/{}", "prompt_id", position)
        ids = pl.col("completion_id").fill_null(generated) if "completion_id" in frame.columns else generated
        frame = frame.with_columns(ids.alias("completion_id")).drop(INDEX)
    return frame, count
