"""An optimiser batch in parts: units that share a beginning together, each part within a budget of tokens."""

from __future__ import annotations

from collections.abc import Sequence

from prefboost.packing import stream_length
from prefboost.packing.trie import MIN_SHARED
from prefboost.training.batches import Views

__all__ = ["TOKEN_BUDGET", "default_budget", "split_by_budget", "split_by_prompt_order", "split_texts_by_budget"]

TOKEN_BUDGET = {"cpu": 4096, "cuda": 16384}
"""Tokens of a micro-batch's stream that keeps its activations, by device."""


def default_budget(device: str) -> int:
    """Tokens of a micro-batch where the settings name none."""
    return TOKEN_BUDGET.get(device, TOKEN_BUDGET["cpu"])


def split_by_budget(views: Views, budget: int) -> list[list[int]]:
    """Rows of the views in parts; all views of a unit stand in one.

    Units are put in the order of their prompts, so that those with a common beginning meet, and taken greedily. The
    tokens are counted from above: what two neighbours share is counted once, what more than two share as well.

    Args:
        views: of an optimiser batch.
        budget: most tokens of a part's stream; a unit that is longer has a part of its own.

    Returns:
        rows of each part; together, every row once. The same for the same views, whatever process asks.
    """
    rows: dict[int, list[int]] = {}
    for row, unit in enumerate(views.units):
        rows.setdefault(unit, []).append(row)
    groups = sorted(rows.values(), key=lambda group: (tuple(views.prompts[group[0]]), group[0]))
    lengths = [_length(views, group) for group in groups]
    prompts = [views.prompts[group[0]] for group in groups]
    return [[row for at in part for row in groups[at]] for part in _greedy(lengths, prompts, budget)]


def split_by_prompt_order(
    prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]], budget: int
) -> list[list[int]]:
    """The same for sequences that need not stay together; indices of each part."""
    order = sorted(range(len(prompts)), key=lambda index: (tuple(prompts[index]), index))
    lengths = [len(prompts[index]) + len(completions[index]) for index in order]
    parts = _greedy(lengths, [prompts[index] for index in order], budget)
    return [[order[at] for at in part] for part in parts]


def split_texts_by_budget(units: Sequence[Sequence[Sequence[int]]], budget: int) -> list[list[int]]:
    """The same for units of texts that are judged whole; indices of the units of each part."""
    order = sorted(range(len(units)), key=lambda index: (tuple(units[index][0]), index))
    lengths = [stream_length(units[index], [()] * len(units[index])) for index in order]
    parts = _greedy(lengths, [units[index][0] for index in order], budget)
    return [[order[at] for at in part] for part in parts]


def _greedy(lengths: Sequence[int], prompts: Sequence[Sequence[int]], budget: int) -> list[list[int]]:
    parts: list[list[int]] = []
    used = 0
    for at, length in enumerate(lengths):
        shared = _shared_beginning(prompts[at - 1], prompts[at]) if at else 0
        more = length - (shared if shared >= MIN_SHARED else 0)
        if not parts or used + more > budget:
            parts.append([])
            used, more = 0, length
        parts[-1].append(at)
        used += more
    return parts


def _length(views: Views, rows: Sequence[int]) -> int:
    unit = views.take(rows)
    return stream_length(unit.prompts + unit.prompts, unit.chosen + unit.rejected)


def _shared_beginning(first: Sequence[int], second: Sequence[int]) -> int:
    """Tokens that two prompts have in common at their beginning."""
    both = min(len(first), len(second))
    return next((at for at in range(both) if first[at] != second[at]), both)
