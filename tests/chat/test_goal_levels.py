from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2.sandbox import ImmutableSandboxedEnvironment

from prefboost.chat import SayGoal, goal_text, place_goal
from prefboost.chat.goal_text import print_goal
from prefboost.training.policy.chat_template import rewrite_template

SAY = SayGoal(
    place="after",
    wording="{% if goal is not none %}Quality: {{ goal }}{% endif %}",
    levels=("awful", "poor", "fair", "good", "excellent"),
)
OWN = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}"
PROMPT: Sequence[Mapping[str, Any]] = [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize(
    ("goal", "printed"),
    [(1, "awful (1)"), (0, "awful (0)"), (3, "poor (3)"), (5.5, "fair (5.5)"), (12, "excellent (12)")],
)
def test_a_goal_is_printed_with_its_band(goal: float, printed: str) -> None:
    assert print_goal(SAY, goal) == printed


@given(st.floats(-1, 12), st.integers(0, 4))
def test_the_chat_template_prints_the_same_band(goal: float, decimals: int) -> None:
    say = SAY.model_copy(update={"decimals": decimals})
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    rewritten = environment.from_string(rewrite_template(OWN, say, 10.0, None, "after"))
    goal = round(goal, 3)
    said = place_goal(PROMPT, goal_text(say, goal), "after")
    assert rewritten.render(messages=PROMPT, goal=goal) == environment.from_string(OWN).render(messages=said)
