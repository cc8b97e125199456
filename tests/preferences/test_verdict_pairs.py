"""Both orders of a judge become one label, its probability, and counted ties."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.scoring.conftest import completions_table, pairs_table

from prefboost.errors import DataError
from prefboost.preferences import pair
from prefboost.preferences.verdict_pairs import ByVerdict, pairs_of_verdicts
from prefboost.scoring.judges.verdicts import Ruling, verdict_of, verdicts_table
from prefboost.tables import PREFERENCE_PAIRS, Table, conform


def judged(wins: list[tuple[float, float]]) -> Table:
    """Verdicts in which the first-shown side wins with the given probabilities: chosen first, rejected first."""
    pairs = pairs_table([(f"q{at}", f"best {at}", f"worst {at}") for at in range(len(wins))])
    rulings = {
        side: [Ruling(verdict_of(each[at], 0.0), each[at]) for each in wins]
        for at, side in enumerate(("chosen", "rejected"))
    }
    return verdicts_table(pairs, rulings, "someone", {}, {})


def text(frame: pl.DataFrame, side: str) -> list[str]:
    return [messages[0]["content"] for messages in frame[side].to_list()]


def test_the_side_that_both_orders_find_better_is_chosen_and_ties_are_counted() -> None:
    pairs = pairs_of_verdicts(judged([(0.9, 0.3), (0.2, 0.6), (0.9, 0.9), (0.5, 0.5)]))
    assert pairs.spec is PREFERENCE_PAIRS and pairs.frame["pair_id"].to_list() == ["p0", "p1"]
    assert text(pairs.frame, "chosen") == ["best 0", "worst 1"] and text(pairs.frame, "rejected") == [
        "worst 0",
        "best 1",
    ]
    assert pairs.frame["chosen_wins"].to_list() == pytest.approx([0.8, 0.7])
    assert pairs.rejects["id"].to_list() == ["p2", "p3"] and pairs.steps[-1].rejected == {pairs.rejects["reason"][0]: 2}
    assert pairs.steps[-1].notes["labels that the judge turns round"] == 1


def test_kept_ties_stay_as_they_were_labelled_at_their_probability() -> None:
    pairs = pairs_of_verdicts(judged([(0.9, 0.9), (0.1, 0.8)]), ByVerdict(ties="keep", tie_within=0.1))
    assert text(pairs.frame, "chosen") == ["best 0", "worst 1"]
    assert pairs.frame["chosen_wins"].to_list() == pytest.approx([0.5, 0.85]) and pairs.rejects.is_empty()


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=8))
def test_every_pair_is_kept_or_counted_and_chosen_is_never_the_less_likely(wins: list[tuple[float, float]]) -> None:
    table = judged([(0.9, 0.1), *wins])
    pairs = pairs_of_verdicts(table)
    assert len(pairs) + len(pairs.rejects) == len(wins) + 1
    assert (pairs.frame["chosen_wins"] > 0.5).all()
    conform(pairs.frame, PREFERENCE_PAIRS)


def test_verdicts_without_probabilities_count_as_certain() -> None:
    table = judged([(0.9, 0.1)])
    plain = replace(table, frame=table.frame.with_columns(first_wins=pl.lit(None, pl.Float64)))
    assert pairs_of_verdicts(plain).frame["chosen_wins"].to_list() == [1.0]


def test_pair_takes_verdicts_too() -> None:
    assert len(pair(judged([(0.9, 0.3)]))) == 1


def test_other_tables_and_nothing_but_ties_are_errors() -> None:
    with pytest.raises(DataError, match="not Verdicts"):
        pairs_of_verdicts(completions_table([("q", "a")]))
    with pytest.raises(DataError, match="all of 1 verdicts are ties"):
        pairs_of_verdicts(judged([(0.9, 0.9)]))
