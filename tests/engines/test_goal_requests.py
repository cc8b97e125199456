"""How a goal reaches an engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from prefboost.chat import SayGoal, goal_text
from prefboost.engines.engine import Request
from prefboost.engines.goal_requests import asker
from prefboost.errors import DataError, ModelError

USER = [{"role": "user", "content": "Hi", "extra": None}]


class Plain:
    """An engine whose chat template says no goals, and has or has not a system role."""

    def __init__(self, says_goals: bool = False, system: bool = True) -> None:
        self.says_goals = says_goals
        self.system = system

    def render_conversation(self, messages: Sequence[Mapping[str, Any]]) -> str:
        if not self.system and messages[0]["role"] == "system":
            raise ModelError("no system role")
        return "".join(f"<{message['role']}>{message['content']}</>" for message in messages)


def test_a_checkpoint_that_says_goals_is_passed_the_number() -> None:
    ask = asker(Plain(says_goals=True), SayGoal())  # type: ignore[arg-type]
    assert ask(USER, 7.0, 2) == Request(USER, 2, 7.0)
    assert ask(USER, None, 0) == Request(USER)


@pytest.mark.parametrize(("system", "role"), [(True, "system"), (False, "user")])
def test_other_models_read_the_goal_where_their_template_allows(system: bool, role: str) -> None:
    ask = asker(Plain(system=system), SayGoal())  # type: ignore[arg-type]
    request = ask(USER, 7.0, 1)
    assert request.prompt[0]["role"] == role
    assert request.prompt[0]["content"].startswith(goal_text(SayGoal(), 7.0))
    assert (request.goal, request.sample) == (None, 1)
    assert ask(USER, None, 0).prompt == USER


def test_a_goal_that_has_no_place_is_refused() -> None:
    with pytest.raises(ModelError, match="place is system"):
        asker(Plain(system=False), SayGoal(place="system"))  # type: ignore[arg-type]
    ask = asker(Plain(), SayGoal(place="user"))  # type: ignore[arg-type]
    with pytest.raises(DataError, match="cannot place a goal"):
        ask([{"role": "tool", "content": "3", "extra": None}], 7.0, 0)
