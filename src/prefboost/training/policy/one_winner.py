"""Under one printed goal one completion of a pair wins: the fact that training on goals rests on, for any table."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from prefboost.errors import BrokenFact, Place

__all__ = ["Winners"]

_SHOWN, _EXCERPT = 5, 120
"""Conflicts, and characters of the first one, that an error shows."""


class Winners:
    """The completion that wins under each prompt, as the chat template renders it.

    A table that `condition` wrote has one winner per prompt. Tables written by hand or by other tools may not, and a
    template may drop the system message that holds the goal. Then both completions of a pair win in the same words and
    their gradients cancel.
    """

    def __init__(self) -> None:
        self._first: dict[bytes, tuple[bool, int]] = {}
        self._conflicts: list[tuple[int, int, str]] = []

    def add(self, number: int, row: Mapping[str, Any], prompt_text: str) -> None:
        """Compare a row with those before it.

        Args:
            number: of the row in its table, from 0.
            row: of GoalPairs.
            prompt_text: the rendered prompt.
        """
        sides = [(repr(row[side]), row.get(f"score_{side}")) for side in ("chosen", "rejected")]
        # Equal scores mean the same pair, whatever its ids. Two judges of one pair may disagree, and so may people who
        # label without goals.
        goals = [value for name, value in row.items() if name.partition(".")[0] == "goal"]
        pair = "" if any(goal is not None for goal in goals) else row["pair_id"]
        # The same pair may come with its sides exchanged: sorted texts and one bit say which side won.
        swapped = sides[0][0] > sides[1][0]
        # Hashes, since rendered prompts of a large table do not fit into memory.
        key = blake2b(repr((pair, prompt_text, sorted(sides, key=lambda side: side[0]))).encode(), digest_size=16)
        # The first row decides; later ones are compared with it alone.
        before, earlier = self._first.setdefault(key.digest(), (swapped, number))
        if before != swapped:
            self._conflicts.append((earlier, number, prompt_text))

    def refuse_conflicts(self) -> None:
        """Refuse a table in which both completions of a pair win under the same prompt.

        Raises:
            BrokenFact: names the rows.
        """
        if not self._conflicts:
            return
        rows = ", ".join(f"{first} and {second}" for first, second, _ in self._conflicts[:_SHOWN])
        rest = f" and {len(self._conflicts) - _SHOWN:,} more" if len(self._conflicts) > _SHOWN else ""
        first, _, text = self._conflicts[0]
        words = " ".join(text.split())
        excerpt = words if len(words) <= _EXCERPT else f"{words[:_EXCERPT]} ..."
        raise BrokenFact(
            f"under one prompt, as it reads, both completions of a pair win: rows {rows}{rest}; the first reads "
            f"{excerpt!r}",
            remedy="say the goal in the prompt so that the chat template keeps it and different goals read differently "
            "(prefboost augment does), or leave such pairs out: they are ties",
            place=Place(row=first),
        )
