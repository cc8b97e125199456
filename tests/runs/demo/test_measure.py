from __future__ import annotations

import polars as pl
import pytest

from prefboost.runs.demo.measure import Following, measure_following, measure_unlearning, state_verdict

GOALS = (1.0, 4.0, 7.0, 10.0)


def answers(slope: float, level: float = 5.0) -> pl.DataFrame:
    rows = [
        {
            "prompt_id": f"q{prompt}",
            "completion_id": f"q{prompt}/{goal:g}",
            "goal": goal,
            "score": level + slope * (goal - 5.5) + 0.1 * ((prompt * 7) % 5 - 2),
        }
        for prompt in range(20)
        for goal in GOALS
    ]
    return pl.DataFrame(rows)


def judged(ours: pl.DataFrame, theirs: pl.DataFrame) -> tuple[bool, list[str]]:
    found: dict[str, Following] = {"augmented": measure_following(ours), "plain": measure_following(theirs)}
    changes = [measure_unlearning("plain DPO", [-10.0, -12.0], [-11.0, -14.0], ["a", "b"])]
    return state_verdict(found["augmented"], found["plain"], changes, {"augmented": ours, "plain": theirs})


def test_the_slope_is_achieved_points_per_asked_point() -> None:
    found = measure_following(answers(0.5))
    assert found.slope.estimate == pytest.approx(0.5)
    assert found.by_goal[max(found.by_goal)].estimate == pytest.approx(5 + 0.5 * 4.5, abs=0.1)


def test_a_policy_that_follows_is_said_to_follow() -> None:
    follows, sentences = judged(answers(0.5), answers(0.0))
    assert follows
    assert "follows the goal" in sentences[0] and "rises with every step" in sentences[1]
    assert "above plain DPO" in sentences[2]
    assert "-1.50 [-2.00, -1.00] nats" in sentences[3]


def test_a_null_effect_is_said_to_be_one() -> None:
    follows, sentences = judged(answers(0.0), answers(0.0))
    assert not follows
    assert "does not visibly follow" in sentences[0]
    assert "not distinguishable from plain DPO" in sentences[2]


def test_without_rejected_completions_of_that_kind_nothing_is_claimed() -> None:
    ours, theirs = measure_following(answers(0.5)), measure_following(answers(0.0))
    _, sentences = state_verdict(ours, theirs, [], {"augmented": answers(0.5), "plain": answers(0.0)})
    assert sentences[3] == "Log-prob of well-scored rejected completions: there were none."


def test_following_less_than_the_control_is_no_success() -> None:
    assert not judged(answers(0.2), answers(0.5))[0]
