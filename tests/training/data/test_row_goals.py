"""A row's goal reads as `prefboost.chat.goal_text` prints it."""

from __future__ import annotations

from prefboost.chat import SayGoal, goal_text
from prefboost.training.data.row_goals import render_row_goal

SAY = SayGoal(place="system")


def test_a_row_without_any_goal_states_none() -> None:
    assert render_row_goal({"prompt": []}, SAY) is None
    assert render_row_goal({"goal": None, "goal.style": None}, SAY) is None


def test_score_and_aspects_are_printed() -> None:
    assert render_row_goal({"goal": 7.0, "goal.style": 3.0, "pair_id": "p"}, SAY) == goal_text(SAY, 7.0, {"style": 3.0})
    assert render_row_goal({"goal": None, "goal.style": 3.0}, SAY) == goal_text(SAY, None, {"style": 3.0})
