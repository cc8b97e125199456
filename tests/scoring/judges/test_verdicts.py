"""Verdicts as a table: its facts, and pairs that are judged in both orders or not at all."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.scoring.conftest import pairs_table

from prefboost.errors import BrokenFact, DataError
from prefboost.scoring.judges.verdicts import Ruling, verdict_of, verdicts_table
from prefboost.tables import VERDICTS, Table, conform

shares = st.one_of(st.none(), st.floats(0, 1))


def ruled(both: list[tuple[float | None, float | None]], tie_within: float = 0.0) -> Table:
    def ruling(share: float | None) -> Ruling:
        return Ruling(fault=("unread", "?")) if share is None else Ruling(verdict_of(share, tie_within), share)

    pairs = pairs_table([(f"q{at}", "good", "bad") for at in range(len(both))])
    rulings = {side: [ruling(row[at]) for row in both] for at, side in enumerate(("chosen", "rejected"))}
    return verdicts_table(pairs, rulings, "judge", {}, {})


@given(st.lists(st.tuples(shares, shares), min_size=1, max_size=10), st.sampled_from([0.0, 0.1, 0.49]))
def test_every_pair_has_two_rows_or_is_counted(both: list[tuple[float | None, float | None]], within: float) -> None:
    good = sum(None not in row for row in both)
    if not good:
        with pytest.raises(DataError, match="unread"):
            ruled(both, within)
        return
    verdicts = ruled(both, within)
    assert len(verdicts) == 2 * good and verdicts.rejects.height == len(both) - good
    for share, verdict in verdicts.frame.select("first_wins", "verdict").rows():
        assert verdict == verdict_of(share, within)


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        ({"verdict": "maybe"}, "first, second or tie"),
        ({"shown_first": "chosen"}, "both orders"),
        ({"first_wins": 1.5}, "between 0 and 1"),
        ({"first_wins": 0.1, "verdict": "first"}, "less likely side"),
    ],
)
def test_tables_that_break_a_fact_are_refused(change: dict[str, object], fact: str) -> None:
    frame = ruled([(0.9, 0.2)]).frame
    with pytest.raises(BrokenFact, match=fact):
        conform(frame.with_columns(**{name: pl.lit(value) for name, value in change.items()}), VERDICTS)


def test_a_row_that_is_missing_is_noticed() -> None:
    with pytest.raises(BrokenFact, match="both orders"):
        conform(ruled([(0.9, 0.2), (0.5, 0.5)]).frame.head(3), VERDICTS)
