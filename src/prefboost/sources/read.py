"""`read` and `read_batches`: any source of preference data to declared tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from prefboost.preferences.verdict_pairs import pairs_of_verdicts
from prefboost.sources.collection import Collection, File, Source
from prefboost.sources.columns import Columns
from prefboost.sources.in_memory import InMemory
from prefboost.sources.layouts.fitted import LATER_LAYOUTS, add_later_layouts
from prefboost.sources.layouts.unmapped import UNMAPPED, refuse_unmapped, sum_unmapped
from prefboost.sources.messages.conversations import NULL_KEYS
from prefboost.sources.messages.encoded import DECODED_ROWS, ENCODED
from prefboost.sources.readers.verdict_files import holds_verdicts, read_verdicts
from prefboost.sources.rows.identity import PARTED, REPEATED, SHARED, find_disputes, settle_ids
from prefboost.sources.rows.scores import TEN_FOR_ONE
from prefboost.tables import Step, Table

__all__ = ["join_tables", "read", "read_batches", "resolve_source", "sum_read_steps"]

NO_COLUMNS = Columns()


def read(source: Any, *, columns: Columns = NO_COLUMNS) -> Table:
    """Read a whole source.

    Args:
        source: a file, folder, glob, saved data set or hub id; a data set of `datasets`, a frame of pandas or Polars,
            an Arrow table or a list of dicts; or the settings of a source.
        columns: columns named by the user, over those of the source; what neither names is guessed.

    Returns:
        ScoredCompletions, Completions, PreferencePairs or Prompts, in the order of the file; of a file of verdicts that
        `judge` has written, the pairs as it labels them, with ``chosen_wins``. What was rejected is in
        ``rejects``, what the columns were taken for in the step's notes (``guess``).

    Raises:
        UnreadableFile: the bytes are not what the name promises.
        UnknownShape: the columns fit no shape of preference data.
        DataError: any other fault of the whole source, such as a column that may belong to the question and plays no
            part: it is named (``columns.prompt``, ``columns.system``) or ignored (``columns.ignore``).
    """
    return join_tables(list(read_batches(source, columns=columns)))


def join_tables(tables: Sequence[Table]) -> Table:
    """Join the tables of all batches of a source, in the order of the records.

    Raises:
        DataError: a column that may belong to the question plays no part; see `read`.
    """
    if len(tables) == 1 and LATER_LAYOUTS not in tables[0].steps[0].notes:
        return refuse_unmapped(tables[0])
    frame = pl.concat([table.frame for table in tables]).sort("row", maintain_order=True)
    rejects = pl.concat([table.rejects for table in tables]).sort("row", maintain_order=True)
    step = sum_read_steps([table.steps[0] for table in tables])
    return refuse_unmapped(replace(tables[0], frame=frame, rejects=rejects, steps=(step,)))


def read_batches(source: Any, *, columns: Columns = NO_COLUMNS, rows: int | None = None) -> Iterator[Table]:
    """Read a source as a stream of tables in bounded memory; every batch holds whole prompts.

    Each table carries only its own rejects and its own step; together they are what `read` returns, but that prompts
    whose records stand apart in the file come last. Columns that may belong to the question and play no part are not
    refused: the step's notes name them (`prefboost.sources.layouts.unmapped.refuse_unmapped` refuses such a table).

    Args:
        source, columns, raises: as in `read`.
        rows: records per batch, about; default: as many as make some 64 MB.
    """
    settings = resolve_source(source)
    if isinstance(settings, File) and holds_verdicts(settings.path):
        return iter([pairs_of_verdicts(read_verdicts(settings.path))])
    if isinstance(settings, Collection):
        return settings.batches(columns, rows)
    # Someone else's source is read twice: its ids are believed only where prompts confirm them.
    disputed = find_disputes(settings.batches(columns, rows))
    return (settle_ids(table, disputed) for table in settings.batches(columns, rows))


def resolve_source(source: Any) -> Source:
    """Return the settings of a source: a path means a `File`, data are `InMemory`.

    Raises:
        DataError: it is neither.
    """
    if isinstance(source, str | Path):
        return File(path=str(source))
    return source if isinstance(source, Source) else InMemory(data=source)


def sum_read_steps(steps: Sequence[Step]) -> Step:
    """Make the step ``read`` of a whole source from those of its batches, in order."""
    rejected: Counter[str] = Counter()
    notes = dict(steps[0].notes)
    for step in steps:
        rejected.update(step.rejected)
    counts = (REPEATED, SHARED, PARTED, TEN_FOR_ONE, ENCODED, DECODED_ROWS, NULL_KEYS)
    for name in ("records", "records of other splits", *counts):
        total = sum(int(step.notes.get(name, 0)) for step in steps)
        notes |= {name: total} if total or name in notes else {}
    unmapped = sum_unmapped(step.notes.get(UNMAPPED, {}) for step in steps)
    notes |= {UNMAPPED: unmapped} if unmapped else {}
    layouts = sum_unmapped(step.notes.get(LATER_LAYOUTS, {}) for step in steps)
    notes |= {LATER_LAYOUTS: layouts, "guess": add_later_layouts(notes["guess"], layouts)} if layouts else {}
    return replace(
        steps[0],
        rows_in=sum(step.rows_in for step in steps),
        rows_out=sum(step.rows_out for step in steps),
        rejected=dict(rejected),
        notes=notes,
    )
