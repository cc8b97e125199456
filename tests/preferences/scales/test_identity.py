"""Scores that stay as they are: the ends that prompts name are theirs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tables_of import pair_table

from prefboost.chat import SayGoal
from prefboost.preferences import apply_scale, condition, relabel
from prefboost.preferences.scales.identity import IdentityScale, find_goal_scales
from prefboost.tables import Step


@pytest.mark.parametrize(
    ("scores", "ends"),
    [
        ([0.0, 4.0, 2.0], (0, 4)),
        ([-3.5, 2.25], (-3.5, 2.25)),
        ([2.0, 9.0], (1, 10)),
        ([0.5, 0.5], (1, 10)),
        ([], (1, 10)),
    ],
)
def test_no_score_is_changed_and_the_ends_are_those_of_the_scores(
    scores: list[float], ends: tuple[float, float]
) -> None:
    fitted = IdentityScale().fit(np.asarray(scores))
    assert (fitted.values, fitted.is_identity, fitted.strict) == (ends, True, False)
    assert IdentityScale(ends=(0, 7)).fit(np.asarray(scores)).values == (0, 7)
    made = apply_scale(pair_table([(99.0, -99.0)]), fitted)
    assert made.frame.select("score_chosen", "score_rejected").rows() == [(99.0, -99.0)]


def test_a_table_without_a_scale_is_said_on_the_one_that_its_source_declares_or_its_scores_need() -> None:
    plain = pair_table([(4.0, 0.0), (3.0, 1.0)])
    declared = replace(plain, steps=(Step("read", {}, 2, 2, notes={"score range": [0, 4]}),))
    for table, said in (
        (declared, "0-4"),
        (plain, "0-4"),
        (pair_table([(-1.5, -8.0)]), "-8--1.5"),
        (pair_table([(9.0, 1.0)]), "1-10"),
    ):
        made = condition(relabel(table, say=SayGoal()), SayGoal(place="system"))
        assert f"on a scale of {said}," in made.frame["prompt"][0][0]["content"]
        assert made.scales[""].top == float(said.rpartition("-")[2]) or said == "-8--1.5"
    assert find_goal_scales(pair_table([(9.0, 1.0)])) == {}
