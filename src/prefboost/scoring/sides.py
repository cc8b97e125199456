"""Tables as completions to score, and scores back into tables: completions by themselves, or both sides of a pair."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from prefboost.errors import DataError, ModelError, Place
from prefboost.preferences.scales.apply import apply_scale
from prefboost.preferences.scales.fit import find_score_columns, fit_scale
from prefboost.preferences.scales.kinds import Scale
from prefboost.tables import COMPLETIONS, PREFERENCE_PAIRS, SCORED_COMPLETIONS, Table, reject_faulty

__all__ = ["ScoredItem", "Scores", "list_scored_items", "read_item_scores", "with_scores"]

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


@dataclass
class Scores:
    """Results: one number per head for every item, or why there is none.

    Args:
        heads: names; ``""`` is the overall score, others are aspects.
        values: (row, side) -> numbers in the order of the heads.
        faults: (row, side) -> reason and what was found.
        masses: (row, side) -> probability of all ratings together, where they were read off log-probs.
    """

    heads: Sequence[str] = ("",)
    values: dict[tuple[int, str], Sequence[float | None]] = field(default_factory=dict)
    faults: dict[tuple[int, str], tuple[str, str]] = field(default_factory=dict)
    masses: dict[tuple[int, str], float] = field(default_factory=dict)

    def try_item(self, item: ScoredItem, encode: Callable[[ScoredItem], Any]) -> Any:
        """Encode an item; return None and note a fault where the chat template refuses the messages."""
        try:
            return encode(item)
        except ModelError as error:
            self.faults[item.row, item.side] = ("the chat template refuses the messages", error.message)
            return None


def list_scored_items(table: Table) -> list[ScoredItem]:
    """List every completion of a table, row by row.

    Raises:
        DataError: the table holds no completions.
    """
    sides = _SIDES.get(table.spec.name)
    if sides is None:
        raise DataError(
            f"scoring needs Completions, ScoredCompletions or PreferencePairs, found {table.spec.name}",
            remedy="give a file with completions or pairs",
            place=Place(path=table.path),
        )
    columns = ["prompt", *sides, *(ends for _, ends in sides.values() if ends in table.frame.columns)]
    return [
        ScoredItem(at, side, row["prompt"], row[side], row.get(ends) == "length")
        for at, row in enumerate(table.frame.select(columns).iter_rows(named=True))
        for side, (_, ends) in sides.items()
    ]


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
        table: that `list_scored_items` was given.
        scores: of its items; rows with a fault, or with a number that is not finite, are rejects.
        settings: of the scorer, for the table's history.
        notes: for the table's history.
        scale: fitted to the scores and applied, its map kept with the table; None leaves them as they are.

    Raises:
        DataError: no row at all could be scored.
    """
    faults = {row: fault for (row, _), fault in reversed(scores.faults.items())}
    for (row, _), numbers in scores.values.items():
        if not all(number is None or abs(number) < float("inf") for number in numbers):
            faults.setdefault(row, ("the model gave a score that is not finite", str(list(numbers))))
    # Aspects of earlier scores go too: beside new ones they would read as the same scorer's.
    frame = table.frame.drop(name for name in table.frame.columns if name.startswith(("score", _MASS)))
    unknown = [None] * len(scores.heads)
    columns = []
    for side, (column, _) in _SIDES[table.spec.name].items():
        rows = [scores.values.get((row, side), unknown) for row in range(frame.height)]
        for at, head in enumerate(scores.heads):
            name = f"{column}.{head}" if head else column
            columns.append(pl.Series(name, [numbers[at] for numbers in rows], pl.Float64))
        if scores.masses:
            masses = [scores.masses.get((row, side)) for row in range(frame.height)]
            columns.append(pl.Series(f"{_MASS}{column.removeprefix('score')}", masses, pl.Float64))
    usable, aside = reject_faulty(frame.with_columns(columns), faults, stage="score", path=table.path)
    if faults and usable.is_empty():
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
    overall = [scored.frame[name] for name in find_score_columns(scored) if "." not in name]
    return apply_scale(scored, fit_scale(scale, overall))
