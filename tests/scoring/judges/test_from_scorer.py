"""A judge made of a scorer: the higher score wins in either order, and what could not be scored is set aside."""

from __future__ import annotations

import math

import polars as pl
import pytest
from scripted_engine import Scripted
from tests.scoring.conftest import pairs_table

from prefboost.errors import DataError
from prefboost.scoring import ImplicitReward, Rater
from prefboost.scoring.judges.from_scorer import ScorerJudge, list_margins
from prefboost.tables import VERDICTS

PAIRS = [("one", "7", "3"), ("two", "2", "5"), ("three", "4", "4.0"), ("four", "8", "none")]


def rater() -> Rater:
    """Gives the rating that stands in the completion."""

    def say(prompt: str) -> str:
        said = prompt.partition("<completion 1 ")[2].split("\n")[1]
        return "nothing" if said == "none" else f'{{"rating": {said}}}'

    return Rater(engine=Scripted.by(say, name="r"))


def test_the_higher_score_wins_in_both_orders() -> None:
    verdicts = ScorerJudge(scorer=rater()).judge(pairs_table(PAIRS[:3]))
    assert verdicts.spec is VERDICTS
    assert verdicts.frame["verdict"].to_list() == ["first", "second", "second", "first", "tie", "tie"]
    assert verdicts.frame["first_wins"].null_count() == 6 and set(verdicts.frame["judge"]) == {"r"}


def test_pairs_that_the_scorer_could_not_score_are_set_aside_with_its_reason() -> None:
    verdicts = ScorerJudge(scorer=rater()).judge(pairs_table(PAIRS))
    assert len(verdicts) == 6
    assert verdicts.rejects.select("stage", "id", "reason").rows() == [("judge", "p3", "the answer holds no ratings")]


def test_scores_near_each_other_tie_and_probabilities_are_those_of_bradley_and_terry() -> None:
    frame = ScorerJudge(scorer=rater(), tie_within=3, temperature=2.0).judge(pairs_table(PAIRS[:3])).frame
    assert frame["verdict"].to_list() == ["first", "second", "tie", "tie", "tie", "tie"]
    assert frame["first_wins"][0] == pytest.approx(1 / (1 + math.exp(-2)))
    assert frame["first_wins"][0] + frame["first_wins"][1] == pytest.approx(1)


def test_a_scorer_stands_under_its_kind_in_settings() -> None:
    scorer = {"kind": "implicit", "policy": "a", "reference": "b"}
    assert isinstance(ScorerJudge.model_validate({"scorer": scorer}).scorer, ImplicitReward)


def test_where_nothing_could_be_scored_the_scorer_says_so() -> None:
    with pytest.raises(DataError, match="none of 1 rows could be scored"):
        ScorerJudge(scorer=rater()).judge(pairs_table(PAIRS[3:]))


@pytest.mark.parametrize("rows", [[0, 1, 2], [0, 2], [2, 0, 1], []])
def test_margins_are_those_of_the_pairs_in_whatever_order_a_scorer_leaves_them(rows: list[int]) -> None:
    table = pairs_table(PAIRS[:3])
    scores = {"score_chosen": pl.Series([7.0, 2.0, 4.0]), "score_rejected": pl.Series([3.0, 5.0, None])}
    scored = table.replace_fields(frame=table.frame.with_columns(**scores)[rows])
    margins = [4.0 if 0 in rows else None, -3.0 if 1 in rows else None, None]
    assert list(list_margins(table, scored)) == list(zip(table.frame["pair_id"], margins, strict=True))
