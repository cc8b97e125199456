from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefboost.errors import DataError
from prefboost.evaluation.benchmark import JudgeVerdict
from prefboost.evaluation.mt_bench.judging import CATEGORIES, MtRules, compute_pair_share
from prefboost.evaluation.mt_bench.scores import score_grades, score_pairs
from prefboost.statistics import Bootstrap, cluster_standard_error

QUICK = Bootstrap(resamples=300)
OFFICIAL, ROBUST = MtRules(mode="official", interval=QUICK), MtRules(interval=QUICK)


def grade(uid: int, turn: int, value: float | None, model: str = "m") -> JudgeVerdict:
    facts = {"category": CATEGORIES[(uid - 81) // 10], "turn": turn}
    return JudgeVerdict(str(uid), model, f"turn{turn}", value, facts)


def pair(uid: int, turn: int, game: int, winner: str | None) -> JudgeVerdict:
    facts = {"category": CATEGORIES[(uid - 81) // 10], "turn": turn, "game": game, "winner": winner}
    return JudgeVerdict(str(uid), "m", f"turn{turn}/game{game}", compute_pair_share(winner, game), facts)


def change(verdict: JudgeVerdict, **facts: object) -> JudgeVerdict:
    facts = {**verdict.facts, **facts}
    value = compute_pair_share(facts["winner"], facts["game"]) if "winner" in facts else verdict.value
    return replace(verdict, facts=facts, value=value)


def grades(seed: int) -> list[JudgeVerdict]:
    rng = np.random.default_rng(seed)
    verdicts = []
    for uid in range(81, 161):
        ease = rng.integers(3, 9)
        verdicts += [grade(uid, turn, float(np.clip(ease + rng.integers(-2, 3), 1, 10))) for turn in (1, 2)]
    return verdicts


def pairs(seed: int) -> list[JudgeVerdict]:
    rng = np.random.default_rng(seed)
    return [
        pair(uid, turn, game, str(rng.choice(["A", "B", "tie"])))
        for uid in range(81, 121)
        for turn in (1, 2)
        for game in (1, 2)
    ]


def test_the_score_is_the_mean_of_all_grades_by_turn_and_by_category():
    own = grades(1)
    overall, *parts = score_grades(own, ROBUST)
    values = [verdict.value for verdict in own]
    groups = {figure.group: figure.value.estimate for figure in parts}
    assert overall.value.estimate == pytest.approx(np.mean(values))
    assert (overall.value.rows, overall.value.clusters) == (160, 80)
    assert set(groups) == {"turn 1", "turn 2", *CATEGORIES}
    assert np.mean([groups[name] for name in CATEGORIES]) == pytest.approx(overall.value.estimate)
    assert groups["turn 2"] == pytest.approx(np.mean([row.value for row in own if row.facts["turn"] == 2]))
    error = cluster_standard_error(values, [verdict.uid for verdict in own])
    assert (overall.value.high - overall.value.low) / 3.92 == pytest.approx(error, rel=0.15)


@settings(max_examples=10)
@given(st.integers(0, 999), st.randoms())
def test_shuffled_grades_change_nothing(seed, random):
    own = grades(seed)
    rules = MtRules(interval=Bootstrap(resamples=100))
    one, two = (score_grades(rows, rules)[0].value for rows in (own, random.sample(own, len(own))))
    assert one.estimate == pytest.approx(two.estimate)
    assert one.low == pytest.approx(two.low)


def test_a_failed_judgement_is_counted_bounded_and_withholds_the_score():
    own = grades(2)
    own[:2] = [replace(verdict, value=None) for verdict in own[:2]]
    figure = score_grades(own, ROBUST)[0]
    values = [verdict.value for verdict in own[2:]]
    assert (figure.value, figure.missing, figure.rows) == (None, 2, 160)
    assert figure.bounds == (pytest.approx((sum(values) + 2) / 160), pytest.approx((sum(values) + 20) / 160))
    for allowed in (score_grades(own, OFFICIAL)[0], score_grades(own, ROBUST, allow_missing=True)[0]):
        assert allowed.value.estimate == pytest.approx(np.mean(values))


def test_judgements_that_stand_twice_are_refused_but_averaged_officially():
    own = [*grades(3), replace(grades(3)[0], value=10.0)]
    with pytest.raises(DataError, match="turn1 of 81 of m was judged twice"):
        score_grades(own, ROBUST)
    assert score_grades(own, OFFICIAL)[0].rows == 161


def test_models_stand_best_first():
    low = [replace(verdict, model="low", value=1.0) for verdict in grades(4)]
    figures = score_grades([*low, *grades(4)], ROBUST)
    assert [figure.model for figure in figures if not figure.group] == ["m", "low"]


def test_orders_that_disagree_are_officially_a_tie_and_a_win_beside_a_tie_is_three_quarters_otherwise():
    games = [
        pair(81, 1, 1, "A"), pair(81, 1, 2, "B"),  # won in both orders
        pair(81, 2, 1, "A"), pair(81, 2, 2, "tie"),
        pair(82, 1, 1, "A"), pair(82, 1, 2, "A"),  # the first place won
        pair(82, 2, 1, "B"), pair(82, 2, 2, "A"),  # lost in both
    ]  # fmt: skip
    official, robust = (score_pairs(games, rules)[0] for rules in (OFFICIAL, ROBUST))
    assert (official.note, official.value.estimate) == ("won 25.0 % of turns; both orders agree on 50%", 50)
    assert robust.value.estimate == pytest.approx(100 * (1 + 0.75 + 0.5 + 0) / 4)


@settings(max_examples=10)
@given(st.integers(0, 999))
def test_swapped_orders_change_nothing_and_swapped_models_mirror_the_win_rate(seed):
    own = pairs(seed)
    other = {"A": "B", "B": "A", "tie": "tie"}
    mirrored = [change(row, winner=other[row.facts["winner"]]) for row in own]
    swapped = [change(row, game=3 - row.facts["game"]) for row in mirrored]
    for mode in ("official", "robust"):
        rules = MtRules(mode=mode, interval=Bootstrap(resamples=100))
        one, two, three = (score_pairs(rows, rules)[0].value.estimate for rows in (own, swapped, mirrored))
        assert two == pytest.approx(one)
        assert three == pytest.approx(100 - one)


def test_a_game_without_a_verdict_takes_the_other_order_with_it():
    own = pairs(5)
    own[0] = change(own[0], winner=None)
    figure = score_pairs(own, ROBUST, allow_missing=True)[0]
    assert (figure.missing, figure.rows, figure.value.rows) == (1, 160, 79)
    assert score_pairs(own, ROBUST)[0].value is not None  # 1 of 160 is under a hundredth
    figures = score_pairs([change(row, winner=None) for row in own], ROBUST)
    assert [figure.value for figure in figures] == [None]
