from __future__ import annotations

from prefboost.runs.demo.prompts import HELD_OUT_TOPICS, TRAIN_TOPICS, draw_demo_prompts
from prefboost.scoring.rules.kinds import rules_from


def test_no_topic_stands_on_both_sides() -> None:
    assert not set(TRAIN_TOPICS) & set(HELD_OUT_TOPICS)
    assert len(TRAIN_TOPICS) == 60


def test_a_seed_gives_the_same_prompts_and_another_seed_others() -> None:
    first, again = (draw_demo_prompts(20, TRAIN_TOPICS, seed=1) for _ in range(2))
    assert first.equals(again)
    assert not first["prompt"].equals(draw_demo_prompts(20, TRAIN_TOPICS, seed=2)["prompt"])


def test_every_prompt_says_the_four_rules_it_is_scored_by() -> None:
    for row in draw_demo_prompts(30, HELD_OUT_TOPICS, seed=3).iter_rows(named=True):
        rules = rules_from(row["rules"])
        assert len({rule.kind for rule in rules}) == 4
        assert all(rule.say() in row["prompt"][0]["content"] for rule in rules)
