"""Goals as text: the only code that turns numbers into the text that a policy is conditioned on.

Conditioning of data, the chat template of a saved checkpoint, and requests to engines all use it, so that training and
inference see the same text. Wording and number format: arXiv 2410.08067, released code.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import Field, field_validator

from prefboost.chat.messages import Message
from prefboost.settings import Settings

__all__ = [
    "PAPER_WORDING",
    "SAID_GOAL",
    "Place",
    "SayGoal",
    "decimals_for",
    "format_number",
    "goal_text",
    "place_goal",
    "print_goal",
    "render_wording",
    "round_number",
]

PAPER_WORDING = (
    "You are an assistant that generates responses for the instruction while implicitly achieving the following target "
    "scores (on a scale of {{ low }}-{{ high }}, where {{ low }} is lowest and {{ high }} is highest):"
    "{% if goal is not none %}\nOverall score: {{ goal }}.{% endif %}"
    "{% for name, value in aspects.items() %}\n{{ name | capitalize }} score: {{ value }}.{% endfor %}"
)
"""The published wording; aspects are further lines of the same form."""

SAID_GOAL = r"target scores? \(on a scale of [^)]*\):\s+Overall score: (-?\d+(?:\.\d+)?)\."
"""Pattern of the overall score in a text with `PAPER_WORDING`."""

Place = Literal["system", "user", "after", "auto"]
"""Place of the goal: system message, before the text of the first user turn, after the text of the last one."""


class SayGoal(Settings):
    """Wording and place of a goal (arXiv 2410.08067, released code)."""

    place: Place = Field(
        "auto", description="system, user, after, or auto: system unless the chat template has no true system role."
    )
    wording: str = Field(
        PAPER_WORDING,
        description="Jinja text with goal, aspects (name -> number), low and high; default: the published wording.",
    )
    low: float = Field(1.0, description="Lowest score of the scale that the wording names.")
    high: float = Field(10.0, description="Highest score of the scale; asked for at inference when no goal is given.")
    decimals: int | None = Field(
        None,
        ge=0,
        le=6,
        description="Goals are rounded to so many decimals; integers print bare. None is two, or more on a scale "
        "narrower than 4.",
    )
    levels: tuple[str, ...] = Field(
        (),
        description="Names of equal bands of the scale, lowest first: goals print as excellent (10); small models "
        "follow words sooner than digits.",
    )

    @property
    def digits(self) -> int:
        """Decimals of a goal: ``decimals``, or as many as the scale's width needs."""
        return decimals_for(self.high - self.low) if self.decimals is None else self.decimals

    @field_validator("wording")
    @classmethod
    def _compiles(cls, wording: str) -> str:
        try:
            _compile_wording(wording).render(goal="7", aspects={"a": "1"}, low="1", high="10")
        except TemplateError as error:
            raise ValueError(f"the wording is not a usable Jinja template: {error}") from error
        return wording


FEWEST_STEPS = 400
"""Fewest goals that a scale must distinguish: as many as 1 to 5 does at two decimals."""

MOST_DECIMALS = 6


def decimals_for(width: float) -> int:
    """Return the decimals that distinguish `FEWEST_STEPS` goals on a scale of this width: 2, as published, to 6.

    >>> decimals_for(9), decimals_for(1), decimals_for(0.05)
    (2, 3, 4)
    """
    enough = (count for count in range(2, MOST_DECIMALS) if width * 10**count >= FEWEST_STEPS)
    return next(enough, MOST_DECIMALS) if width > 0 else 2


@lru_cache(maxsize=64)
def _compile_wording(wording: str) -> Template:
    return ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True).from_string(wording)


def format_number(value: float, decimals: int = 2) -> str:
    """Write a score as the paper does: integers without ``.0``, other numbers rounded, no trailing zeros.

    Rounding is floor(|x| 10^d + 1/2), which a chat template can compute in any engine with the same digits.

    >>> format_number(7.0), format_number(8.5), format_number(3.669999)
    ('7', '8.5', '3.67')
    """
    if not math.isfinite(value):
        return str(value)
    scaled = _scale_to_integer(value, decimals)
    whole, rest = divmod(scaled, 10**decimals)
    digits = f"{rest:0{decimals}d}".rstrip("0") if decimals else ""
    sign = "-" if value < 0 and scaled else ""
    return f"{sign}{whole}.{digits}" if digits else f"{sign}{whole}"


def round_number(value: float, decimals: int = 2) -> float:
    """Return the number that `format_number` prints."""
    if not math.isfinite(value):
        return value
    return math.copysign(_scale_to_integer(value, decimals) / 10**decimals, value)


def _scale_to_integer(value: float, decimals: int) -> int:
    return math.floor(abs(value) * 10.0**decimals + 0.5)


def goal_text(say: SayGoal, goal: float | None, aspects: Mapping[str, float | None] | None = None) -> str:
    """Write the text of one goal.

    Args:
        say: wording and number format; ``place`` is not used.
        goal: requested overall score; None where only aspects are requested.
        aspects: aspect -> requested score; aspects without one are left out.
    """
    numbers = {name: print_goal(say, value) for name, value in sorted((aspects or {}).items()) if value is not None}
    return render_wording(say, None if goal is None else print_goal(say, goal), numbers)


def print_goal(say: SayGoal, value: float) -> str:
    """Write a goal as the wording has it: the number, after its level where ``say.levels`` names some."""
    number = format_number(value, say.digits)
    if not say.levels:
        return number
    value = round_number(value, say.digits)
    if value >= say.high:
        return f"{say.levels[-1]} ({number})"
    band = 0 if value <= say.low else int((value - say.low) / (say.high - say.low) * len(say.levels))
    return f"{say.levels[min(band, len(say.levels) - 1)]} ({number})"


def render_wording(say: SayGoal, goal: str | None, aspects: Mapping[str, str]) -> str:
    """Fill the wording with numbers in text form, or with marks in their place."""
    return _compile_wording(say.wording).render(
        goal=goal,
        aspects=aspects,
        low=format_number(say.low, say.digits),
        high=format_number(say.high, say.digits),
    )


def place_goal(messages: Sequence[Mapping[str, Any]], text: str, place: Place) -> list[Message]:
    """Put the text of a goal into a prompt.

    An existing system message is kept and extended: goal, blank line, its text. ``user`` puts the goal before the text
    of the first user turn (published form); ``after`` puts it behind the text of the last one, so that all sequences of
    a pair share the beginning of the prompt.

    Args:
        messages: the prompt.
        text: of the goal.
        place: system, user or after; auto is resolved by the caller.

    Raises:
        ValueError: the prompt has no user turn, or the place is auto.
    """
    placed: list[Message] = [{"role": m["role"], "content": m["content"], "extra": m.get("extra")} for m in messages]
    if place == "system":
        if placed and placed[0]["role"] == "system":
            placed[0]["content"] = f"{text}\n\n{placed[0]['content']}"
        else:
            placed.insert(0, {"role": "system", "content": text, "extra": None})
        return placed
    turns = [position for position, message in enumerate(placed) if message["role"] == "user"]
    if place not in ("user", "after") or not turns:
        raise ValueError(f"cannot place a goal at {place!r} in a prompt with roles {[m['role'] for m in placed]}")
    target = placed[turns[0] if place == "user" else turns[-1]]
    content = target["content"]
    target["content"] = f"{text}\n\n{content}" if place == "user" else f"{content}\n\n{text}"
    return placed
