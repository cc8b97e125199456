"""Marks of missing scores are found by how they stand apart, and never fitted as scores."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables_of import pair_table, scored_table

from prefboost.chat import SayGoal
from prefboost.preferences import DeclaredRange, MinMax, apply_scale, condition, fit_scale, relabel
from prefboost.preferences.scales.missing_marks import describe_marks, find_marks

draw = np.random.default_rng(0)

MARKED = {
    "-1 below stars": ([1, 2, 3, 4, 5] * 20, -1),
    "-1 below marks from 0 to 4": ([0, 1, 4] * 20, -1),
    "-1 below shares": (draw.uniform(0, 1, 200), -1),
    "-1 below marks out of ten": (draw.uniform(1, 10, 200), -1),
    "-100 below shares": (draw.uniform(0, 1, 200), -100),
    "-100 below logits": (draw.normal(0, 3, 200), -100),
    "-999 below percents": (draw.uniform(0, 100, 200), -999),
    "99 above a Likert scale": ([1, 4, 7] * 20, 99),
    "999 above percents": ([0, 50, 100] * 20, 999),
    "-9 below stars": ([1, 3, 5] * 20, -9),
}
SCORES = {
    "disagree, neutral, agree": [-1, 0, 1] * 20,
    "right and wrong": [-1, 1] * 20,
    "balanced marks": [-3, -1, 2, 3] * 20,
    "logits clipped at -1": [*draw.uniform(-1, 1, 100), -1, -1],
    "percents up to 99": [0, 50, 99, 99] * 20,
    "marks with a few full hundreds": [*range(0, 90, 5), 100, 100],
    "one slip": [*([1, 4, 9] * 20), -100],
    "a penalty": [1, 10, -10, -10],
    "all the same": [-1, -1, -1],
    "nothing": [],
}


@pytest.mark.parametrize("case", list(MARKED))
def test_a_mark_of_missing_scores_is_found_left_out_of_the_fit_and_its_rows_are_counted(case: str) -> None:
    rated, mark = MARKED[case]
    scores = np.asarray([*rated, mark, mark], dtype=float)
    assert find_marks(scores) == (mark,)
    table = scored_table([("q", scores.tolist())])
    for scale in (DeclaredRange(), MinMax()):
        fitted = fit_scale(scale, [table.frame["score"]])
        assert fitted.missing == (mark,) and f"2 times {mark:g}" in fitted.because
        assert not fitted.knots[0] <= mark <= fitted.knots[-1]
        made = apply_scale(table, fitted)
        assert len(made) == len(rated)
        assert made.rejects["found"].to_list() == [str(float(mark))] * 2
        assert made.rejects["reason"].str.starts_with("the score stands for a missing one").all()


@pytest.mark.parametrize("case", list(SCORES))
def test_scores_that_are_low_or_high_are_no_marks(case: str) -> None:
    assert find_marks(np.asarray(SCORES[case], dtype=float)) == ()


def test_both_ends_may_have_a_mark_and_what_lies_in_a_declared_range_is_a_score() -> None:
    scores = np.asarray([*([1, 2, 5] * 9), -1, -1, 99, 99, 99], dtype=float)
    assert find_marks(scores) == (-1, 99)
    assert describe_marks(scores, (-1, 99)) == "2 times -1 and 3 times 99 is taken for a missing score"
    column = [pl.Series(scores)]
    assert fit_scale(DeclaredRange(), column, declared=(-1, 5)).missing == ()
    assert fit_scale(MinMax(), column, declared=(-1, 99)).knots == (-1, 99)


@given(st.lists(st.floats(-1e6, 1e6), max_size=40), st.randoms())
def test_marks_depend_on_neither_order_nor_the_marks_of_one_end_on_scores_between(
    scores: list[float], order: st.DataObject
) -> None:
    marks = find_marks(np.asarray(scores))
    order.shuffle(scores)  # type: ignore[attr-defined]
    assert find_marks(np.asarray(scores)) == marks
    assert all(mark in (min(scores), max(scores)) and scores.count(mark) > 1 for mark in marks)


def test_pairs_that_never_went_through_a_scale_are_judged_in_relabelling() -> None:
    pairs = pair_table([(5, 1), (4, -1), (3, 2), (5, -1)])
    made = condition(relabel(pairs, say=SayGoal()), SayGoal(place="system"))
    assert made.frame["pair_id"].unique(maintain_order=True).to_list() == ["p0/0", "p2/0"]
    assert made.rejects["found"].to_list() == ["4.0 and -1.0", "5.0 and -1.0"]
    assert "on a scale of 1-5," in made.frame["prompt"][0][0]["content"]
    assert sorted(set(relabel(pairs).frame["goal"])) == [1, 2, 3, 5]


def test_an_aspect_with_a_mark_is_not_rated() -> None:
    from prefboost.preferences import fit_scales

    table = scored_table([("q", [1.0, 5.0, 3.0, 4.0, 2.0])])
    wit = pl.Series("score.wit", [0.5, -1.0, 0.2, -1.0, 0.9])
    table = type(table)(table.spec, table.frame.with_columns(wit))
    made = apply_scale(table, fit_scales(DeclaredRange(), [table], aspects=("wit",)))
    assert made.frame["score.wit"].to_list() == [0.5, None, 0.2, None, 0.9]
