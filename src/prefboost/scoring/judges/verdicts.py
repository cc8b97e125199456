"""Rulings of a judge as a table: every pair in both orders, or not at all."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from prefboost.errors import DataError, Place
from prefboost.scratch import ScratchFile
from prefboost.tables import PREFERENCE_PAIRS, VERDICTS, Table, refuse_other_tables, reject_faulty

__all__ = ["ORDERS", "Ruling", "Rulings", "Verdict", "check_pairs", "verdict_of", "verdicts_table"]

Verdict = Literal["first", "second", "tie"]

_VERDICTS = (None, "first", "second", "tie")
_OF_VERDICT, _HAS_WINS, _HAS_MASS = 3, 4, 8
"""Bits of a ruling's code: place among `_VERDICTS`, and which of its numbers are known."""

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


class Rulings:
    """Rulings on pairs in both orders: numbers in arrays, rationales in a file. As objects they would take most memory.

    Args:
        pairs: how many.
    """

    def __init__(self, pairs: int) -> None:
        self._codes = {first: bytearray(pairs) for first in ORDERS}
        self._wins, self._masses = ({first: array("d", bytes(8 * pairs)) for first in ORDERS} for _ in range(2))
        # Behind the place of each rationale in the file; 0 is none.
        self._places = {first: array("q", bytes(8 * pairs)) for first in ORDERS}
        self._faults: dict[str, dict[int, tuple[str, str]]] = {first: {} for first in ORDERS}
        self._texts = ScratchFile()

    def __setitem__(self, key: tuple[int, str], ruling: Ruling) -> None:
        """Set the ruling on a pair where a side was shown first."""
        at, first = key
        if ruling.fault is not None:
            self._faults[first][at] = ruling.fault
        code = 0 if ruling.verdict is None else _VERDICTS.index(ruling.verdict)
        if ruling.first_wins is not None:
            code, self._wins[first][at] = code | _HAS_WINS, ruling.first_wins
        if ruling.label_mass is not None:
            code, self._masses[first][at] = code | _HAS_MASS, ruling.label_mass
        self._codes[first][at] = code
        if ruling.rationale is not None:
            text = ruling.rationale.encode()
            self._places[first][at] = 1 + self._texts.append(len(text).to_bytes(4, "little") + text)

    @classmethod
    def of(cls, rulings: Mapping[str, Sequence[Ruling]]) -> Rulings:
        """Take rulings that are in memory: side that was shown first -> a ruling per pair."""
        taken = cls(max(map(len, rulings.values()), default=0))
        for first, each in rulings.items():
            for at, ruling in enumerate(each):
                taken[at, first] = ruling
        return taken

    def find_faults(self) -> dict[int, tuple[str, str]]:
        """Find the faulty pairs, in order, and the fault of each: in the first order that has one."""
        faults = {at: fault for first in reversed(ORDERS) for at, fault in self._faults[first].items()}
        return dict(sorted(faults.items()))

    def build_columns(self, start: int, rows: int) -> list[pl.Series]:
        """Build the columns of some pairs: ``_verdict/SIDE`` and so on, null where something is not known."""
        columns = []
        for first in ORDERS:
            codes = pl.Series(self._codes[first][start : start + rows], dtype=pl.UInt8)
            wins, masses = (
                pl.Series(each[first][start : start + rows], dtype=pl.Float64) for each in (self._wins, self._masses)
            )
            frame = pl.DataFrame({"code": codes, "wins": wins, "mass": masses})
            verdict = (pl.col("code") & _OF_VERDICT).replace_strict(dict(enumerate(_VERDICTS)), return_dtype=pl.String)
            built = frame.select(
                verdict.alias(f"_verdict/{first}"),
                pl.when((pl.col("code") & _HAS_WINS) > 0).then("wins").alias(f"_first_wins/{first}"),
                pl.when((pl.col("code") & _HAS_MASS) > 0).then("mass").alias(f"_label_mass/{first}"),
            )
            rationales: list[str | None] = []
            for behind in self._places[first][start : start + rows]:
                rationales.append(self._read_text(behind - 1) if behind else None)
            columns += [*built, pl.Series(f"_rationale/{first}", rationales, dtype=pl.String)]
        return columns

    def _read_text(self, place: int) -> str:
        length = int.from_bytes(self._texts.read(place, 4), "little")
        return self._texts.read(place + 4, length).decode()

    @property
    def has_masses(self) -> bool:
        """Whether any verdict was read off probabilities."""
        return any(max(codes, default=0) >= _HAS_MASS for codes in self._codes.values())


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
    rulings: Rulings | Mapping[str, Sequence[Ruling]],
    judge: str,
    settings: Mapping[str, Any],
    notes: Mapping[str, Any],
) -> Table:
    """Build Verdicts from rulings: two rows per pair, or none where either order has a fault.

    Args:
        pairs: what was judged.
        rulings: on all of them; of those in memory, side that was shown first (chosen, rejected) -> a ruling per pair.
        judge: who judged.
        settings: of the judge, for the table's history.
        notes: for the table's history.

    Raises:
        DataError: no pair at all could be judged.
    """
    every_ruling = rulings if isinstance(rulings, Rulings) else Rulings.of(rulings)
    # One order alone would let a preference for a place into every figure, so a fault in either rejects the pair.
    faults = every_ruling.find_faults()
    masses = ["label_mass"] if every_ruling.has_masses else []

    def build_rows(frame: pl.DataFrame, start: int) -> tuple[pl.DataFrame, pl.DataFrame]:
        here = {at - start: fault for at, fault in faults.items() if start <= at < start + frame.height}
        ruled = frame.with_row_index("_at").with_columns(every_ruling.build_columns(start, frame.height))
        judged, rejects = reject_faulty(ruled, here, stage="judge", path=pairs.path)
        parts = [_select_order(judged, first, judge, masses) for first in ORDERS]
        return pl.concat(parts).sort("_at", "shown_first"), rejects

    rows, rejects = pairs.split(build_rows, [*dict.fromkeys(reason for reason, _ in faults.values())])
    if len(pairs) and not rows.height:
        reason, evidence = next(iter(faults.values()))
        raise DataError(
            f"none of {len(pairs):,} pairs could be judged: {reason}: {str(evidence)[:120]}",
            remedy="use a judge that accepts these pairs and answers in the requested form",
            place=Place(path=pairs.path),
        )
    step = pairs.build_step(
        "judge",
        settings,
        rows,
        rejects,
        {"judge": judge, "rows_in_are": "pairs", "rows_out_are": "verdicts, two a pair", **notes},
    )
    return pairs.derive(VERDICTS, rows, step, rejects=rejects, scales={})


def _select_order(judged: pl.DataFrame, first: str, judge: str, masses: Sequence[str]) -> pl.DataFrame:
    """Select the rows of one order."""
    first_side, second_side = ORDERS[first]
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
        judge=pl.lit(judge),
        **{name: pl.col(f"_{name}/{first}") for name in ("verdict", "first_wins", "rationale", *masses)},
    )


def _length(side: str) -> pl.Expr:
    """Count the characters of a side's messages."""
    texts = pl.col(side).list.eval(pl.element().struct.field("content")).list.join("\n")
    return texts.str.len_chars().cast(pl.Int64)
