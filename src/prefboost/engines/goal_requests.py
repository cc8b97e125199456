"""Ask for a goal: through the checkpoint's own chat template, or in the prompt's text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from prefboost.chat import SayGoal, goal_text, place_goal
from prefboost.engines.engine import Engine, Messages, Request
from prefboost.engines.goal_range import goal_range, warn_outside
from prefboost.errors import DataError
from prefboost.preferences.condition import resolve_place

__all__ = ["Ask", "asker"]

NO_ASPECTS: Mapping[str, float] = {}


class Ask(Protocol):
    """Makes a request for a goal."""

    def __call__(
        self, prompt: Messages, goal: float | None, sample: int, aspects: Mapping[str, float] = NO_ASPECTS
    ) -> Request:
        """Make a request.

        Args:
            prompt: messages.
            goal: overall score to ask for; None asks for none.
            sample: which of several completions, from 0.
            aspects: scores of aspects to ask for.
        """


def asker(engine: Engine, say: SayGoal, *, silent: bool = False) -> Ask:
    """Build the function that asks an engine for a goal.

    Args:
        engine: a checkpoint trained by prefboost says goals by itself: the goal is passed to its chat template.
        say: how the goal is said in the prompt of any other model; ``place: auto`` looks at its chat template.
        silent: without a goal nothing is said, not even by a template that asks for the top score by itself.

    Returns:
        A function that makes requests; it warns of a goal outside the model's scale (`goal_range`). Without a goal
        nothing is said, and a template that asks for the top score by itself does so, unless ``silent``.

    Raises:
        ModelError: ``place`` is system and the model's chat template has no such role.
    """
    ends = goal_range(engine, say)
    if engine.says_goals:

        def pass_on(
            prompt: Messages, goal: float | None, sample: int, aspects: Mapping[str, float] = NO_ASPECTS
        ) -> Request:
            warn_outside(goal, ends)
            # None leaves it to the template, which asks for the top score by itself; False tells it to say nothing. Of
            # a vector nothing is said but what it names.
            quiet = goal is None and (silent or bool(aspects))
            return Request(prompt, sample, False if quiet else goal, aspects=aspects)

        return pass_on
    place, _ = resolve_place(say, engine.render_conversation)

    def ask(prompt: Messages, goal: float | None, sample: int, aspects: Mapping[str, float] = NO_ASPECTS) -> Request:
        warn_outside(goal, ends)
        try:
            silent = goal is None and not aspects
            placed: Any = prompt if silent else place_goal(prompt, goal_text(say, goal, aspects), place)
        except ValueError as error:
            raise DataError(str(error), remedy="leave the prompt out, or set condition.place to system") from error
        return Request(placed, sample)

    return ask
