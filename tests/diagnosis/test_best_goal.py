"""The best goal is chosen on some prompts and measured on others."""

from __future__ import annotations

import polars as pl

from prefboost.diagnosis.best_goal import choose_best_goal, choose_best_vector


def build_rows(lucky: float) -> pl.DataFrame:
    """Two goals for four prompts; goal 5 is better by ``lucky`` on validation prompts alone."""
    return pl.DataFrame(
        [
            {"prompt_id": f"p{at}", "split": split, "goal": goal, "score": score, "goal.a": goal, "score.a": score}
            for at, split in enumerate(("validation", "validation", "test", "test"))
            for goal in (5.0, 9.0)
            for score in [6.0 + lucky if split == "validation" and goal == 5 else 6.0]
        ]
    )


def test_luck_on_the_prompts_that_choose_is_not_counted() -> None:
    best = choose_best_goal(build_rows(2.0), 0.5)
    assert best is not None and (best.goal, best.achieved.estimate, best.gain.estimate) == (5.0, 6.0, 0.0)
    vector = choose_best_vector(build_rows(2.0), ["a"], {}, 0.5)
    assert vector is not None and vector.gain is not None
    assert (dict(vector.goals), vector.score, vector.gain.estimate) == ({"a": 5.0}, "the overall score", 0.0)


def test_one_goal_no_goal_or_one_split_leaves_nothing_to_choose() -> None:
    rows = build_rows(0.0)
    for few in (rows.filter(pl.col("goal") == 5), rows.clear(), rows.filter(pl.col("split") == "test")):
        assert choose_best_goal(few, 0.5) is None and choose_best_vector(few, ["a"], {"a": 1.0}, 0.5) is None
    assert choose_best_vector(rows, [], {}, 0.5) is None
