"""The text of a row's goal, as its prompt states it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefboost.chat import SayGoal, goal_text

__all__ = ["render_row_goal"]


def render_row_goal(row: Mapping[str, Any], say: SayGoal) -> str | None:
    """Render the goal of a row of GoalPairs (columns ``goal`` and ``goal.ASPECT``); None where it states none."""
    aspects = {name.removeprefix("goal."): value for name, value in row.items() if name.startswith("goal.")}
    # A row may state aspects without an overall score; null means that its prompt is silent on that one.
    overall = row.get("goal")
    if overall is None and all(value is None for value in aspects.values()):
        return None
    return goal_text(say, overall, aspects)
