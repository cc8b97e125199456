"""Rulings of a judge as a table: every pair in both orders, or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from prefboost.errors import DataError, Place
from prefboost.tables import PREFERENCE_PAIRS, VERDICTS, Table, refuse_other_tables, reject_faulty

__all__ = ["ORDERS", "Ruling", "Verdict", "check_pairs", "verdict_of", "verdicts_table"]

Verdict = Literal["first", "second", "tie"]

ORDERS = {"chosen": ("chosen", "rejected"), "rejected": ("rejected", "chosen")}
"""Side shown first -> both sides in the order in which they are shown."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """The decision of a judge on a pair in one order.

    Args:
        verdict: which of the two, as they are shown; None where there is a fault.
        first_wins: 0..1: probability of the first-shown side, or its share of votes; None where that is not known.
        rationale: why, in the judge's words.
        fault: reason and what was found, where there is no verdict.
        label_mass: 0..1: probability of all verdicts together, before they were made to sum to 1; None where a verdict
            was read in words.
    """

    verdict: Verdict | None = None
    first_wins: float | None = None
    rationale: str | None = None
    fault: tuple[str, str] | None = None
    label_mass: float | None = None


def verdict_of(first_wins: float, tie_within: float) -> Verdict:
    """Return the side ahead; a tie where the share lies within ``tie_within`` of one half."""
    if abs(first_wins - 0.5) <= tie_within:
        return "tie"
    return "first" if first_wins > 0.5 else "second"


def check_pairs(table: Table, task: str = "a judge") -> None:
    """Refuse anything but pairs.

    Args:
        table: any table.
        task: what needs pairs, as the error begins.

    Raises:
        DataError: the table is no PreferencePairs.
    """
    remedy = "give a file of pairs, or pair the completions first"
    refuse_other_tables(table, PREFERENCE_PAIRS, task=task, remedy=remedy)


def verdicts_table(
    pairs: Table,
    rulings: Mapping[str, Sequence[Ruling]],
    judge: str,
    settings: Mapping[str, Any],
    notes: Mapping[str, Any],
) -> Table:
    """Build Verdicts from rulings: two rows per pair, or none where either order has a fault.

    Args:
        pairs: what was judged.
        rulings: side that was shown first (chosen, rejected) -> a ruling a pair.
        judge: who judged.
        settings: of the judge, for the table's history.
        notes: for the table's history.

    Raises:
        DataError: no pair at all could be judged.
    """
    # One order alone would let a preference for a place into every figure, so a fault in either rejects the pair.
    both_orders = enumerate(zip(*rulings.values(), strict=True))
    first_faults = {at: next((ruling.fault for ruling in both if ruling.fault), None) for at, both in both_orders}
    faults = {at: fault for at, fault in first_faults.items() if fault}
    judged, rejects = reject_faulty(pairs.frame.with_row_index("_at"), faults, stage="judge", path=pairs.path)
    if len(pairs) and judged.is_empty():
        raise DataError(
            f"none of {len(pairs):,} pairs could be judged: {rejects['reason'][0]}: {str(rejects['found'][0])[:120]}",
            remedy="use a judge that accepts these pairs and answers in the requested form",
            place=Place(path=pairs.path),
        )
    parts = [_build_rows(judged, first, [rulings[first][at] for at in judged["_at"]], judge) for first in ORDERS]
    frame = pl.concat(parts).sort("_at", "shown_first")
    step = pairs.build_step(
        "judge",
        settings,
        frame,
        rejects,
        {"judge": judge, "rows_in_are": "pairs", "rows_out_are": "verdicts, two a pair", **notes},
    )
    return pairs.derive(VERDICTS, frame, step, rejects=rejects, scales={})


def _build_rows(judged: pl.DataFrame, first: str, rulings: Sequence[Ruling], judge: str) -> pl.DataFrame:
    """Build the rows of one order."""
    first_side, second_side = ORDERS[first]
    masses = [ruling.label_mass for ruling in rulings]
    mass_columns = [] if all(mass is None for mass in masses) else [pl.Series("label_mass", masses, dtype=pl.Float64)]
    carried = [
        name for name in ("_at", "row", "pair_id", "prompt_id", "prompt", "source", "split") if name in judged.columns
    ]
    return judged.select(
        *carried,
        verdict_id=pl.concat_str("pair_id", pl.lit(f"/{first}")),
        shown_first=pl.lit(first),
        first=pl.col(first_side),
        second=pl.col(second_side),
        length_first=_length(first_side),
        length_second=_length(second_side),
        verdict=pl.Series([ruling.verdict for ruling in rulings], dtype=pl.String),
        first_wins=pl.Series([ruling.first_wins for ruling in rulings], dtype=pl.Float64),
        rationale=pl.Series([ruling.rationale for ruling in rulings], dtype=pl.String),
        judge=pl.lit(judge),
    ).with_columns(mass_columns)


def _length(side: str) -> pl.Expr:
    """Count the characters of a side's messages."""
    texts = pl.col(side).list.eval(pl.element().struct.field("content")).list.join("\n")
    return texts.str.len_chars().cast(pl.Int64)
