"""Figures of judged sets: judges whose bias is known by construction."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables_of import cut_evenly
from tests.scoring.conftest import pairs_table

from prefboost.errors import DataError
from prefboost.scoring.judges.figures import JudgeFigures, judge_figures, read_verdict_numbers
from prefboost.scoring.judges.verdicts import Ruling, Verdict, verdicts_table
from prefboost.statistics import Bootstrap
from prefboost.tables import Table

QUICK = Bootstrap(resamples=100)
verdicts = st.sampled_from(["first", "second", "tie"])


def table(both: list[tuple[Verdict, Verdict]], texts: tuple[str, str] = ("long enough", "short")) -> Table:
    pairs = pairs_table([(f"q{at}", *texts) for at in range(len(both))])
    rulings = {side: [Ruling(row[at]) for row in both] for at, side in enumerate(("chosen", "rejected"))}
    return verdicts_table(pairs, rulings, "judge", {}, {})


def figures(both: list[tuple[Verdict, Verdict]], texts: tuple[str, str] = ("long enough", "short")) -> JudgeFigures:
    return judge_figures(table(both, texts), QUICK)


def test_a_judge_of_the_first_place_contradicts_itself_and_is_warned_of() -> None:
    found = figures([("first", "first")] * 8)
    assert found.order_agreement.estimate == 0 and found.first_wins.estimate == 1 and found.with_labels.estimate == 0.5
    assert found.label_kappa == pytest.approx(0)
    text = "\n".join(found.lines())
    assert "below 70% agreement" in text and "sways this judge" in text


def test_a_judge_that_gives_the_labels_back_agrees_with_them() -> None:
    found = figures([("first", "second")] * 8)
    assert found.order_agreement.estimate == 1 and found.with_labels.estimate == 1 and found.label_kappa == 1
    assert found.first_wins.estimate == 0.5 and not found.first_wins.excludes(0.5)
    assert found.length.longer_wins is not None and found.length.longer_wins.estimate == 1
    assert "note:" not in "\n".join(found.lines())


def test_a_judge_of_the_shorter_side_is_seen() -> None:
    found = figures([("first", "second")] * 4, texts=("a", "a b c"))
    assert found.length.longer_wins is not None and found.length.longer_wins.estimate == 0


def test_sides_of_one_length_say_nothing_of_length() -> None:
    found = figures([("first", "second"), ("tie", "tie")], texts=("ab", "cd"))
    assert found.length.longer_wins is None and found.length.equally_long == 2 and math.isnan(found.length.correlation)
    assert found.record()["length"]["correlation"] is None and found.record()["pairs"] == 2
    assert "no pair differs in length" in "\n".join(found.lines())


@given(st.lists(st.tuples(verdicts, verdicts), min_size=1, max_size=12))
def test_figures_lie_in_their_ranges_and_ties_are_counted(both: list[tuple[Verdict, Verdict]]) -> None:
    found = figures(both)
    assert found.ties == pytest.approx(sum(row.count("tie") for row in both) / (2 * len(both)))
    for interval in (found.order_agreement, found.first_wins, found.with_labels):
        assert 0 <= interval.estimate <= 1
    swapped = figures([(other, one) for one, other in both], texts=("short", "long enough"))
    assert swapped.first_wins.estimate == pytest.approx(found.first_wins.estimate)


def test_an_empty_table_is_refused() -> None:
    empty = table([("first", "second")])
    with pytest.raises(DataError, match="0 rows of Verdicts"):
        judge_figures(Table(empty.spec, empty.frame.clear()))


def test_figures_of_verdicts_on_disk_are_those_of_verdicts_in_memory() -> None:
    whole = table([("first", "second"), ("tie", "first"), ("second", "second"), ("first", "tie")] * 3)
    # A piece may end between both verdicts on a pair.
    assert judge_figures(cut_evenly(whole, 5), QUICK).record() == judge_figures(whole, QUICK).record()
    numbers = read_verdict_numbers(whole)
    assert numbers.select("won", "verdict", "place").row(3) == (1.0, 0, 2)
