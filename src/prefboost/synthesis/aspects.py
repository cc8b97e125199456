"""Tasks, and the aspects of quality that count in each: one line per definition, all of them or some drawn."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import Field, model_validator

from prefboost.settings import Settings

__all__ = ["TASKS", "Aspects", "Task", "seed_random"]


@dataclass(frozen=True)
class Task:
    """A kind of prompt.

    Args:
        name: in settings.
        about: one sentence on what the completions are for.
        noun: what a completion is called when a model is asked for one.
        aspects: name -> one line that defines it.
    """

    name: str
    about: str
    noun: str
    aspects: Mapping[str, str]


TASKS: dict[str, Task] = {
    "chat": Task(
        "chat",
        "An assistant answers the last turn of a conversation.",
        "response",
        {
            "helpfulness": "it does what was asked, and what it says can be used",
            "relevance": "every sentence bears on the request",
            "completeness": "no part of the request is left out",
        },
    ),
    "instructions": Task(
        "instructions",
        "An assistant follows an instruction.",
        "response",
        {
            "instruction_following": "every constraint of the instruction is kept",
            "honesty": "it is no surer than it can be, and says what it does not know",
            "truthfulness": "nothing in it is made up or wrong",
            "helpfulness": "it is right, and as informative as the instruction calls for",
        },
    ),
    "qa": Task(
        "qa",
        "A question is answered from the passages that stand with it.",
        "answer",
        {
            "relevance": "it answers the question that was asked, without repetition or digression",
            "factuality": "every statement is borne out by the passages",
            "completeness": "every answer that the passages give to the question is in it",
        },
    ),
    "summarization": Task(
        "summarization",
        "A text is summed up in a few sentences.",
        "summary",
        {
            "coherence": "it is easy to follow by itself",
            "accuracy": "it states nothing that the text does not",
            "coverage": "the most important points of the text are in it",
            "overall": "as a whole it stands in for the text",
        },
    ),
}
"""Shipped tasks, by name (aspects as in arXiv 2407.16008; the definitions are ours)."""


class Aspects(Settings):
    """The aspects that count."""

    task: str = Field("chat", description="chat, instructions, qa (with passages) or summarization.")
    names: tuple[str, ...] = Field((), description="Aspects of the task that count; none named: all of them.")
    definitions: dict[str, str] = Field(
        {}, description="Aspects of your own, or other words for the task's: a line each."
    )
    k: int | None = Field(None, ge=1, description="So many are drawn anew for every pair; none: all, every time.")

    @model_validator(mode="after")
    def _check_names(self) -> Aspects:
        if self.task not in TASKS:
            raise ValueError(f"there is no task {self.task!r}; one of: {', '.join(TASKS)}")
        missing = [name for name in self.names if name not in self.defined]
        if missing:
            raise ValueError(f"no definition of {missing[0]!r}; write definitions.{missing[0]}=ONE LINE")
        if self.k is not None and self.k > len(self.chosen):
            raise ValueError(f"k is {self.k}, and there are {len(self.chosen)} aspects")
        return self

    @property
    def defined(self) -> dict[str, str]:
        """The task's aspects and the user's own."""
        return {**TASKS[self.task].aspects, **self.definitions}

    @property
    def chosen(self) -> dict[str, str]:
        """Those that count."""
        return {name: self.defined[name] for name in self.names or self.defined}

    def draw(self, seed: int, *names: str) -> dict[str, str]:
        """Draw the aspects of one pair.

        Args:
            seed: of the draw.
            names: of the pair; the draw depends on nothing else.
        """
        if self.k is None:
            return self.chosen
        draw = seed_random(seed, "aspects", *names)
        # Sorted, so that the draw does not depend on the order in which aspects are written.
        picked = set(draw.sample(sorted(self.chosen), self.k))
        return {name: line for name, line in self.chosen.items() if name in picked}


def seed_random(seed: int, *names: str) -> random.Random:
    """Seed random numbers by a seed and names alone: the same for any order, batch and process."""
    # Not hash(): Python salts that of texts anew in every process.
    text = "\x1f".join([str(seed), *names])
    return random.Random(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
