from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefboost.errors import DataError
from prefboost.evaluation.mt_bench.judging import CATEGORIES, Grade, MtRules, PairGame, category_of
from prefboost.evaluation.mt_bench.scores import mt_pair_scores, mt_scores
from prefboost.statistics import Bootstrap, cluster_standard_error

QUICK = Bootstrap(resamples=300)
OFFICIAL, ROBUST = MtRules(mode="official"), MtRules()


def grades(seed: int, model: str = "m") -> list[Grade]:
    rng = np.random.default_rng(seed)
    found = []
    for at in range(81, 161):
        ease = rng.integers(3, 9)
        for turn in (1, 2):
            grade = float(np.clip(ease + rng.integers(-2, 3), 1, 10))
            found.append(Grade(str(at), category_of(str(at)), turn, model, grade))
    return found


def pairs(seed: int, model: str = "m") -> list[PairGame]:
    rng = np.random.default_rng(seed)
    return [
        PairGame(str(at), category_of(str(at)), turn, model, game, str(rng.choice(["A", "B", "tie"])))
        for at in range(81, 121)
        for turn in (1, 2)
        for game in (1, 2)
    ]


def test_the_score_is_the_mean_of_all_grades_by_turn_and_by_category():
    own = grades(1)
    score = mt_scores(own, ROBUST, how=QUICK)[0]
    assert score.overall.estimate == pytest.approx(np.mean([grade.grade for grade in own]))
    assert (score.overall.rows, score.overall.clusters) == (160, 80)
    assert set(score.by_category) == set(CATEGORIES)
    assert np.mean([part.estimate for part in score.by_category.values()]) == pytest.approx(score.overall.estimate)
    assert score.by_turn[2].estimate == pytest.approx(np.mean([grade.grade for grade in own if grade.turn == 2]))
    error = cluster_standard_error([grade.grade for grade in own], [grade.question_id for grade in own])
    assert (score.overall.high - score.overall.low) / 3.92 == pytest.approx(error, rel=0.15)


@settings(max_examples=10)
@given(st.integers(0, 999), st.randoms())
def test_shuffled_grades_change_nothing(seed, random):
    own = grades(seed)
    how = Bootstrap(resamples=100)
    one, two = (mt_scores(rows, ROBUST, how=how)[0] for rows in (own, random.sample(own, len(own))))
    assert one.overall.estimate == pytest.approx(two.overall.estimate)
    assert one.overall.low == pytest.approx(two.overall.low)


def test_a_failed_judgement_is_counted_bounded_and_withholds_the_score():
    own = grades(2)
    own[:2] = [replace(grade, grade=None) for grade in own[:2]]
    score = mt_scores(own, ROBUST, how=QUICK)[0]
    told = [grade.grade for grade in own[2:]]
    assert (score.overall, score.missing, score.judgements) == (None, 2, 160)
    assert score.bounds == (pytest.approx((sum(told) + 2) / 160), pytest.approx((sum(told) + 20) / 160))
    for kept in (mt_scores(own, OFFICIAL)[0], mt_scores(own, ROBUST, allow_missing=True)[0]):
        assert kept.overall.estimate == pytest.approx(np.mean(told))


def test_judgements_that_stand_twice_are_refused_but_averaged_officially():
    own = [*grades(3), replace(grades(3)[0], grade=10.0)]
    with pytest.raises(DataError, match="turn 1 of question 81 of m was judged twice"):
        mt_scores(own, ROBUST)
    assert mt_scores(own, OFFICIAL, how=QUICK)[0].judgements == 161


def test_models_stand_best_first():
    low = [replace(grade, model="low", grade=1.0) for grade in grades(4)]
    assert [score.model for score in mt_scores([*low, *grades(4)], ROBUST, how=QUICK)] == ["m", "low"]


def test_orders_that_disagree_are_officially_a_tie_and_a_win_beside_a_tie_is_three_quarters_otherwise():
    games = [
        PairGame("81", "writing", 1, "m", 1, "A"), PairGame("81", "writing", 1, "m", 2, "B"),  # won in both orders
        PairGame("81", "writing", 2, "m", 1, "A"), PairGame("81", "writing", 2, "m", 2, "tie"),
        PairGame("82", "writing", 1, "m", 1, "A"), PairGame("82", "writing", 1, "m", 2, "A"),  # the first place won
        PairGame("82", "writing", 2, "m", 1, "B"), PairGame("82", "writing", 2, "m", 2, "A"),  # lost in both
    ]  # fmt: skip
    official, robust = (mt_pair_scores(games, mode, how=QUICK)[0] for mode in (OFFICIAL, ROBUST))
    assert (official.wins, official.win_rate.estimate, official.consistency) == (25, 50, 0.5)
    assert robust.win_rate.estimate == pytest.approx(100 * (1 + 0.75 + 0.5 + 0) / 4)


@settings(max_examples=10)
@given(st.integers(0, 999))
def test_swapped_orders_change_nothing_and_swapped_models_mirror_the_win_rate(seed):
    own = pairs(seed)
    other = {"A": "B", "B": "A", "tie": "tie"}
    swapped = [replace(game, game=3 - game.game, winner=other[game.winner]) for game in own]
    mirrored = [replace(game, winner=other[game.winner]) for game in own]
    how = Bootstrap(resamples=100)
    for mode in (OFFICIAL, ROBUST):
        one, two, three = (
            mt_pair_scores(rows, mode, how=how)[0].win_rate.estimate for rows in (own, swapped, mirrored)
        )
        assert two == pytest.approx(one)
        assert three == pytest.approx(100 - one)


def test_a_game_without_a_verdict_takes_the_other_order_with_it():
    own = pairs(5)
    own[0] = replace(own[0], winner=None)
    score = mt_pair_scores(own, ROBUST, how=QUICK, allow_missing=True)[0]
    assert (score.missing, score.games, score.win_rate.rows) == (1, 160, 79)
    assert mt_pair_scores(own, ROBUST, how=QUICK)[0].win_rate is not None  # 1 of 160 is under a hundredth
    none = mt_pair_scores([replace(game, winner=None) for game in own], ROBUST)[0]
    assert (none.win_rate, none.by_category) == (None, {})
