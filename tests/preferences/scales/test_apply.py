"""Scores brought onto scales; further cases stand with the scales themselves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables_of import pair_table, scored_table

from prefboost.errors import DataError
from prefboost.preferences import DeclaredRange, FittedScale, apply_scale, fit_scale, relabel


def test_a_scale_is_for_scores_before_goals_are_made_of_them() -> None:
    with pytest.raises(DataError, match="apply it before relabel"):
        apply_scale(relabel(pair_table([(9, 1)])), fit_scale(DeclaredRange()))


@given(st.lists(st.sampled_from([-1.0, 0.0, 2.0, 4.0, 7.0, None]), min_size=1, max_size=12))
def test_every_row_is_kept_with_its_score_or_rejected_for_one_reason(scores: list[float | None]) -> None:
    fitted = FittedScale(kind="declared", knots=(0, 4), values=(1, 5), strict=True, missing=(-1,))
    table = scored_table([("q", scores)])
    made = apply_scale(table, fitted)
    assert made.frame["score"].to_list() == [
        None if score is None else score + 1 for score in scores if score not in (-1, 7)
    ]
    assert made.steps[-1].rejected == dict(made.rejects["reason"].value_counts().iter_rows())
    assert len(made) + len(made.rejects) == len(table) == made.rejects["id"].n_unique() + len(made)
    assert (made.rejects["found"] == "-1.0").sum() == scores.count(-1.0)
