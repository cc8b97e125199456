from __future__ import annotations

import polars as pl
import pytest

from prefboost.errors import DataError
from prefboost.runs.demo.arms import Arm, list_arms
from prefboost.runs.demo.completions import Demo
from prefboost.runs.demo.measure import (
    TopScore,
    measure_following,
    measure_slope_gap,
    measure_top,
    measure_unlearning,
    state_verdict,
)

GOALS = (1.0, 4.0, 7.0, 10.0)
ARMS = {arm.key: arm for arm in list_arms(Demo())}


def answers(slope: float, level: float = 5.0, gold: float = 0.0, *, spread: float = 0.0) -> pl.DataFrame:
    """Answers whose gold score lies ``gold`` points above the proxy; slopes of prompts are ``spread`` off the mean."""
    rows = [
        {
            "prompt_id": f"q{prompt}",
            "completion_id": f"q{prompt}/{goal:g}",
            "goal": goal,
            "score": level + (slope + spread * (-1) ** prompt) * (goal - 5.5) + 0.1 * ((prompt * 7) % 5 - 2),
        }
        for prompt in range(20)
        for goal in GOALS
    ]
    return pl.DataFrame(rows).with_columns(gold=pl.col("score") + gold)


def measure_arm(arm: Arm, frame: pl.DataFrame, kl: float) -> TopScore:
    top = frame.filter(pl.col("goal") == 10.0)
    return measure_top(arm, top, [-20.0 + kl] * top.height, [-20.0] * top.height)


def judge(**frames: pl.DataFrame) -> tuple[bool, list[str]]:
    """State the verdict on answers by arm; the small betas default to the tuned ones."""
    frames |= {f"{name}_small": frames.get(f"{name}_small", frames[name]) for name in ("augmented", "plain")}
    tops = [measure_arm(ARMS[key], frames[key], 2.0 if key.startswith("augmented") else 7.5) for key in ARMS]
    changes = [measure_unlearning("plain DPO", [-10.0, -12.0], [-11.0, -14.0], ["a", "b"])]
    followings = {name: measure_following(frames[name]) for name in ("augmented", "plain")}
    gap = measure_slope_gap(frames["augmented"], frames["plain"])
    return state_verdict(followings, gap, tops, changes, frames, {"proxy": 4.0, "gold": 5.0})


def test_the_slope_is_achieved_points_per_asked_point() -> None:
    following = measure_following(answers(0.5).with_columns(gold=10 - pl.col("score")))
    assert following.slope.estimate == pytest.approx(0.5)
    assert following.gold_slope.estimate == pytest.approx(-0.5)
    assert following.by_goal[10.0].estimate == pytest.approx(5 + 0.5 * 4.5, abs=0.1)
    assert following.gold_by_goal[10.0].estimate == pytest.approx(5 - 0.5 * 4.5, abs=0.1)


def test_kl_is_the_mean_log_ratio_of_a_policys_answers() -> None:
    top = answers(0.0).filter(pl.col("goal") == 10.0)
    ratios = [float(number % 4) for number in range(top.height)]
    measured = measure_top(ARMS["plain"], top, [ratio - 9 for ratio in ratios], [-9.0] * top.height)
    assert measured.kl.estimate == pytest.approx(1.5)
    assert 0 < measured.kl.low < 1.5 < measured.kl.high < 3


def test_a_policy_that_follows_is_said_to_follow() -> None:
    follows, sentences = judge(augmented=answers(0.5), plain=answers(0.0))
    assert follows
    assert "follows the goal" in sentences[0] and "rises with every step" in sentences[1]
    assert sentences[2].startswith("At beta 0.2") and sentences[3].startswith("At beta 0.03")
    assert "is above plain DPO in gold score" in sentences[2] and "2.0 against 7.5 nats" in sentences[2]
    assert (
        "goal: reward-augmented, beta 0.2" in sentences[4]
        and "above the start model without a goal (5.00)" in sentences[4]
    )
    assert "-1.50 [-2.00, -1.00] nats" in sentences[5]


def test_a_null_effect_is_said_to_be_one() -> None:
    follows, sentences = judge(augmented=answers(0.0), plain=answers(0.0))
    assert not follows
    assert "does not visibly follow" in sentences[0]
    assert "not distinguishable from plain DPO" in sentences[2]
    assert "not distinguishable from the start model" in sentences[4]


def test_the_comparison_is_of_gold_even_where_the_proxy_says_the_opposite() -> None:
    _, sentences = judge(augmented=answers(0.2, gold=2.0), plain=answers(0.0, level=6.9, gold=-3.0))
    assert "is above plain DPO in gold score" in sentences[2] and "(proxy: -1.0" in sentences[2]
    assert (
        "goal: reward-augmented, beta 0.2" in sentences[4]
        and "Highest proxy score: plain DPO, beta 0.2." in sentences[4]
    )
    _, sentences = judge(augmented=answers(0.2, gold=-3.0), plain=answers(0.0))
    assert "is below plain DPO in gold score" in sentences[2]


def test_each_beta_has_its_own_sentence() -> None:
    _, sentences = judge(
        augmented=answers(0.2), plain=answers(0.0), augmented_small=answers(0.0, 2.0), plain_small=answers(0.0, 6.0)
    )
    assert "is above" in sentences[2] and "is below" in sentences[3]


def test_without_good_unchosen_answers_nothing_is_claimed() -> None:
    frames = {key: answers(0.5) for key in ARMS}
    followings = {name: measure_following(frames[name]) for name in ("augmented", "plain")}
    tops = [measure_arm(ARMS[key], frames[key], 1.0) for key in ARMS]
    gap = measure_slope_gap(frames["augmented"], frames["plain"])
    _, sentences = state_verdict(followings, gap, tops, [], frames, {"proxy": 4.0, "gold": 5.0})
    assert sentences[-1] == "Good answers that no pair chose: there were none."


def test_following_less_than_the_control_is_no_success() -> None:
    assert not judge(augmented=answers(0.2), plain=answers(0.5))[0]


def test_a_slope_above_a_noisy_control_is_no_success() -> None:
    augmented, plain = answers(0.2), answers(0.1, spread=0.5)
    assert measure_following(augmented).slope.low > measure_following(plain).slope.estimate
    gap = measure_slope_gap(augmented, plain)
    assert gap.proxy.low < 0 < gap.proxy.estimate
    follows, sentences = judge(augmented=augmented, plain=plain)
    assert not follows and f"difference on the same prompts {gap.proxy.format(signed=True)}" in sentences[0]


def test_what_both_policies_owe_to_the_prompts_does_not_hide_a_difference() -> None:
    augmented, plain = answers(0.3, spread=0.5), answers(0.15, spread=0.5)
    assert 0 < measure_following(augmented).slope.low < measure_following(plain).slope.estimate
    assert judge(augmented=augmented, plain=plain)[0]


def test_slopes_are_compared_by_prompt_and_goal_whatever_the_order_of_answers() -> None:
    augmented, plain = answers(0.3), answers(0.1)
    gap = measure_slope_gap(augmented, plain.reverse())
    assert gap == measure_slope_gap(augmented, plain) and gap.proxy.estimate == pytest.approx(0.2)
    with pytest.raises(DataError, match="on one side only"):
        measure_slope_gap(augmented, plain.filter(pl.col("goal") < 10))
