"""Tables as completions to score, and scores back into tables: completions by themselves, or both sides of a pair."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from prefboost.errors import DataError, ModelError, Place
from prefboost.preferences.scales.apply import apply_scale
from prefboost.preferences.scales.fit import find_score_columns, fit_scale
from prefboost.preferences.scales.kinds import Scale
from prefboost.tables import COMPLETIONS, PREFERENCE_PAIRS, SCORED_COMPLETIONS, Table, reject_faulty

__all__ = [
    "ItemKey",
    "ItemNumbers",
    "ScoredItem",
    "ScoredItems",
    "Scores",
    "list_scored_items",
    "read_item_scores",
    "with_scores",
]

ItemKey = tuple[int, str]
"""Row and side of a completion."""


_SIDES = {
    COMPLETIONS.name: {"completion": ("score", "finish_reason")},
    SCORED_COMPLETIONS.name: {"completion": ("score", "finish_reason")},
    PREFERENCE_PAIRS.name: {
        "chosen": ("score_chosen", "finish_chosen"),
        "rejected": ("score_rejected", "finish_rejected"),
    },
}
"""Columns of completions -> the columns of their score and of how they ended."""

_MASS = "label_mass"
"""Column of the masses of completions; of pairs ``label_mass_chosen`` and ``label_mass_rejected``."""


@dataclass(frozen=True)
class ScoredItem:
    """One completion of a table.

    Args:
        row: which row of the frame it stands in.
        side: the column of the completion.
        prompt: messages.
        completion: messages.
        cut: whether generation cut it, so that it has no end of turn.
    """

    row: int
    side: str
    prompt: Sequence[Mapping[str, Any]]
    completion: Sequence[Mapping[str, Any]]
    cut: bool


class ScoredItems:
    """Every completion of a table, row by row; each is built when it is wanted, and none is held.

    Args:
        table: Completions, ScoredCompletions or PreferencePairs.

    Raises:
        DataError: the table holds no completions.
    """

    def __init__(self, table: Table) -> None:
        sides = _SIDES.get(table.spec.name)
        if sides is None:
            raise DataError(
                f"scoring needs Completions, ScoredCompletions or PreferencePairs, found {table.spec.name}",
                remedy="give a file with completions or pairs",
                place=Place(path=table.path),
            )
        self._ends = {side: ends for side, (_, ends) in sides.items()}
        self._sides = list(sides)
        self._table = table
        self._columns = ["prompt", *sides, *(ends for ends in self._ends.values() if ends in table.schema)]

    def __len__(self) -> int:
        return len(self._table) * len(self._sides)

    def __iter__(self) -> Iterator[ScoredItem]:
        # Polars decodes some hundred rows at a time.
        rows = (row for frame in self._table.read_frames(self._columns) for row in frame.iter_rows(named=True))
        for at, row in enumerate(rows):
            for side in self._sides:
                yield self._build(at, side, row)

    def find_key(self, index: int) -> ItemKey:
        """Return row and side of the completion at an index."""
        row, at = divmod(index, len(self._sides))
        return row, self._sides[at]

    def find_index(self, item: ScoredItem) -> int:
        """Return the index of a completion."""
        return item.row * len(self._sides) + self._sides.index(item.side)

    def take(self, indices: Sequence[int]) -> list[ScoredItem]:
        """Build the completions at some indices, in their order."""
        keys = [self.find_key(index) for index in indices]
        rows = self._table.take([row for row, _ in keys], self._columns).iter_rows(named=True)
        return [self._build(at, side, row) for (at, side), row in zip(keys, rows, strict=True)]

    def _build(self, at: int, side: str, row: Mapping[str, Any]) -> ScoredItem:
        return ScoredItem(at, side, row["prompt"], row[side], row.get(self._ends[side]) == "length")


class ItemNumbers:
    """Numbers of completions, as many of each, in arrays: a million of them as objects would take a gigabyte.

    Args:
        numbers: row and side -> numbers, or None where one is unknown.
    """

    def __init__(self, numbers: Mapping[ItemKey, Sequence[float | None]] | None = None) -> None:
        self.width = 0
        # Side -> numbers and whether they are known, row by row.
        self._values: dict[str, array[float]] = {}
        self._known: dict[str, bytearray] = {}
        for key, each in (numbers or {}).items():
            self[key] = each

    def __setitem__(self, key: ItemKey, numbers: Sequence[float | None]) -> None:
        row, side = key
        self.width = self.width or len(numbers)
        if len(numbers) != self.width:
            raise ValueError(f"{len(numbers)} numbers of a completion, {self.width} of those before it")
        values = self._values.setdefault(side, array("d"))
        flags = self._known.setdefault(side, bytearray())
        start, end = row * self.width, (row + 1) * self.width
        if end > len(values):
            # By half as much again, since arrays that grow row by row are copied each time.
            growth = max(end, len(values) * 3 // 2) - len(values)
            values.frombytes(bytes(8 * growth))
            flags.extend(bytes(growth))
        for at, number in enumerate(numbers, start):
            flags[at] = number is not None
            values[at] = 0.0 if number is None else number

    def __bool__(self) -> bool:
        return self.width > 0

    def list_numbers(self, key: ItemKey) -> list[float | None]:
        """List the numbers of a completion; None for each that is unknown."""
        row, side = key
        values, flags = self._values.get(side, ()), self._known.get(side, b"")
        places = range(row * self.width, (row + 1) * self.width)
        return [values[at] if at < len(values) and flags[at] else None for at in places]

    def build_column(self, side: str, head: int, rows: int) -> pl.Series:
        """Build the column of one number, with as many rows as the table; null where it is unknown."""
        if side not in self._values:
            return pl.Series(values=[None] * rows, dtype=pl.Float64)
        values = pl.Series(values=memoryview(self._values[side])[head :: self.width].tolist(), dtype=pl.Float64)
        is_known = pl.Series(values=list(self._known[side][head :: self.width]), dtype=pl.Boolean, strict=False)
        column = pl.select(pl.when(is_known).then(values)).to_series().head(rows)
        return column.extend_constant(None, rows - len(column)) if len(column) < rows else column


@dataclass
class Scores:
    """Results: one number per head for every item, or why there is none.

    Args:
        heads: names; ``""`` is the overall score, others are aspects.
        values: of items: numbers in the order of the heads.
        faults: (row, side) -> reason and what was found.
        masses: of items: probability of all ratings together, where they were read off log-probs.
    """

    heads: Sequence[str] = ("",)
    values: ItemNumbers = field(default_factory=ItemNumbers)
    faults: dict[ItemKey, tuple[str, str]] = field(default_factory=dict)
    masses: ItemNumbers = field(default_factory=ItemNumbers)

    def try_item(self, item: ScoredItem, encode: Callable[[ScoredItem], Any]) -> Any:
        """Encode an item; return None and note a fault where the chat template refuses the messages."""
        try:
            return encode(item)
        except ModelError as error:
            self.faults[item.row, item.side] = ("the chat template refuses the messages", error.message)
            return None


def list_scored_items(table: Table) -> list[ScoredItem]:
    """List every completion of a table, row by row; see `ScoredItems`."""
    return list(ScoredItems(table))


def read_item_scores(table: Table, items: Sequence[ScoredItem]) -> list[float | None]:
    """Read the scores that a table has for its items; None where it has none."""
    columns = {side: score for side, (score, _) in _SIDES[table.spec.name].items() if score in table.frame.columns}
    scores = {side: table.frame[score].to_list() for side, score in columns.items()}
    return [scores[item.side][item.row] if item.side in scores else None for item in items]


def with_scores(
    table: Table, scores: Scores, settings: Mapping[str, Any], notes: Mapping[str, Any], scale: Scale | None
) -> Table:
    """Add scores to a table: Completions become ScoredCompletions, pairs stay pairs; earlier scores are replaced.

    Masses stand in a column ``label_mass`` (of pairs one for each side), where there are any.

    Args:
        table: that `ScoredItems` was given.
        scores: of its items; rows with a fault, or with a number that is not finite, are rejects.
        settings: of the scorer, for the table's history.
        notes: for the table's history.
        scale: fitted to the scores and applied, its map kept with the table; None leaves them as they are.

    Raises:
        DataError: no row at all could be scored.
    """
    # In the order of the table: in which order answers came plays no part.
    sides = _SIDES[table.spec.name]
    places = {side: at for at, side in enumerate(sides)}
    faults: dict[int, tuple[str, str]] = {}
    for (row, _), fault in sorted(scores.faults.items(), key=lambda each: (each[0][0], places[each[0][1]])):
        faults.setdefault(row, fault)
    columns = []
    for side, (column, _) in sides.items():
        for at, head in enumerate(scores.heads):
            numbers = scores.values.build_column(side, at, len(table))
            columns.append(numbers.alias(f"{column}.{head}" if head else column))
            for row in numbers.is_finite().not_().fill_null(False).arg_true():
                numbers_found = str(scores.values.list_numbers((row, side)))
                faults.setdefault(row, ("the model gave a score that is not finite", numbers_found))
        if scores.masses:
            masses = scores.masses.build_column(side, 0, len(table))
            columns.append(masses.alias(f"{_MASS}{column.removeprefix('score')}"))

    def add_scores(frame: pl.DataFrame, start: int) -> tuple[pl.DataFrame, pl.DataFrame]:
        # Aspects of earlier scores go too: beside new ones they would read as the same scorer's.
        bare = frame.drop(name for name in frame.columns if name.startswith(("score", _MASS)))
        scored = bare.with_columns(column.slice(start, frame.height) for column in columns)
        here = {row - start: faults[row] for row in range(start, start + frame.height) if row in faults}
        return reject_faulty(scored, here, stage="score", path=table.path)

    usable, aside = table.split(add_scores, [*dict.fromkeys(reason for reason, _ in faults.values())])
    if faults and not usable.height:
        reason, example = next(iter(faults.values()))
        raise DataError(
            f"none of {len(table):,} rows could be scored: {reason}: {example}",
            remedy="use a model that accepts these messages and answers in the requested form, or raise max_length",
            place=Place(path=table.path),
        )
    step = table.build_step("score", settings, usable, aside, notes)
    # Scales of earlier scores say nothing of these, so the table starts without any.
    spec = PREFERENCE_PAIRS if table.spec is PREFERENCE_PAIRS else SCORED_COMPLETIONS
    scored = table.derive(spec, usable, step, rejects=aside, scales={})
    if scale is None:
        return scored
    overall = scored.read_columns([name for name in find_score_columns(scored) if "." not in name])
    return apply_scale(scored, fit_scale(scale, overall.get_columns()))
