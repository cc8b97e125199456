"""The rule protocol: a constraint on a completion that code can check, and the sentence that asks for it."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field

from prefboost.settings import Settings

__all__ = ["Relation", "Rule", "compare", "format_count", "words_of"]

Relation = Literal["at least", "at most", "exactly"]

_WORD = re.compile(r"\w+")


class Rule(Settings):
    """A constraint that code can check. An arm has ``kind: Literal[name] = name``."""

    kind: str = Field(description="Name of the rule.")

    def say(self) -> str:
        """Return the sentence that asks for it, to be put into a prompt."""
        raise NotImplementedError(f"{type(self).__name__} needs say()")

    def holds(self, text: str) -> bool:
        """Tell whether a completion's text keeps the rule; defined for every string, never raises."""
        raise NotImplementedError(f"{type(self).__name__} needs holds()")


def compare(count: int, relation: Relation, number: int) -> bool:
    """Tell whether ``count`` is at least, at most or exactly ``number``."""
    return {"at least": count >= number, "at most": count <= number, "exactly": count == number}[relation]


def words_of(text: str) -> list[str]:
    """List runs of letters, digits and underscores, as IFEval counts words ("don't" is two)."""
    return _WORD.findall(text)


def format_count(number: int, singular: str) -> str:
    """Write a count in words: ``1 word``, ``2 words``."""
    return f"{number} {singular}" if number == 1 else f"{number} {singular}s"
