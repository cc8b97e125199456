"""Prompts for tests of synthesis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from prefboost.synthesis.proposal import PromptItem
from prefboost.tables import MESSAGES, PROMPTS, Table, conform


def messages(*turns: tuple[str, str]) -> list[dict[str, Any]]:
    return [{"role": role, "content": content, "extra": None} for role, content in turns]


@pytest.fixture(scope="session")
def items() -> Callable[[int], list[PromptItem]]:
    """So many prompts, one turn each."""
    return lambda count: [
        PromptItem(at, f"q{at}", messages(("user", f"Question {at}?")), {"completion": f"given answer {at}"})
        for at in range(count)
    ]


@pytest.fixture(scope="session")
def conversation() -> PromptItem:
    """A prompt of several turns."""
    turns = (("system", "Be brief."), ("user", "Hello"), ("assistant", "Hi!"), ("user", "Name a river."))
    return PromptItem(0, "c0", messages(*turns))


@pytest.fixture(scope="session")
def prompts() -> Callable[[int], Table]:
    """The same as a table."""

    def made(count: int) -> Table:
        frame = pl.DataFrame(
            {
                "row": pl.Series(range(count), dtype=pl.Int64),
                "prompt_id": [f"q{at}" for at in range(count)],
                "prompt": pl.Series([messages(("user", f"Question {at}?")) for at in range(count)], dtype=MESSAGES),
            }
        )
        return Table(PROMPTS, conform(frame, PROMPTS), path="prompts.jsonl")

    return made
