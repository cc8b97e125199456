"""An optimiser batch in parts: units that share a beginning together, each part within a budget of tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prefboost.packing import measure_stream
from prefboost.packing.trie import MIN_SHARED
from prefboost.training.policy.batches import Views

__all__ = ["TOKEN_BUDGET", "default_budget", "split_by_budget", "split_by_prompt_order", "split_texts_by_budget"]

TOKEN_BUDGET = {"cpu": 4096, "cuda": 16384}
"""Tokens of a micro-batch's stream that keeps its activations, by device."""

WIDE_TOKEN_BUDGET = 1536
"""The same at float32 on a CPU: nothing is cast for each micro-batch, so that small ones cost little time."""


def default_budget(device: str, precision: str) -> int:
    """Tokens of a micro-batch where the settings name none.

    Args:
        device: its type.
        precision: of the training, as in the settings.
    """
    if precision == "fp32" and device != "cuda":
        return WIDE_TOKEN_BUDGET
    return TOKEN_BUDGET.get(device, TOKEN_BUDGET["cpu"])


def split_by_budget(views: Views, budget: int) -> list[list[int]]:
    """Rows of the views in parts; all views of a unit stand in one.

    Units are put in the order of their prompts, so that those with a common beginning meet, and taken greedily. What
    neighbours share is counted once. What then remains of a prompt may be too short to be shared any more, so that a
    part that is nearly full is counted exactly.

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
    sizes = [2 * len(group) for group in groups]
    parts = _greedy(
        lengths, prompts, sizes, budget, lambda part: _length(views, [row for at in part for row in groups[at]])
    )
    return [[row for at in part for row in groups[at]] for part in parts]


def split_by_prompt_order(
    prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]], budget: int
) -> list[list[int]]:
    """The same for sequences that need not stay together; indices of each part."""
    order = sorted(range(len(prompts)), key=lambda index: (tuple(prompts[index]), index))
    lengths = [len(prompts[index]) + len(completions[index]) for index in order]
    parts = _greedy(
        lengths,
        [prompts[index] for index in order],
        [1] * len(order),
        budget,
        lambda part: measure_stream([prompts[order[at]] for at in part], [completions[order[at]] for at in part]),
    )
    return [[order[at] for at in part] for part in parts]


def split_texts_by_budget(units: Sequence[Sequence[Sequence[int]]], budget: int) -> list[list[int]]:
    """The same for units of texts that are judged whole; indices of the units of each part."""
    order = sorted(range(len(units)), key=lambda index: (tuple(units[index][0]), index))
    lengths = [_texts_length(units[index]) for index in order]
    parts = _greedy(
        lengths,
        [units[index][0] for index in order],
        [len(units[index]) for index in order],
        budget,
        lambda part: _texts_length([text for at in part for text in units[order[at]]]),
    )
    return [[order[at] for at in part] for part in parts]


def _greedy(
    lengths: Sequence[int],
    prompts: Sequence[Sequence[int]],
    sizes: Sequence[int],
    budget: int,
    exact: Callable[[Sequence[int]], int],
) -> list[list[int]]:
    """Neighbours in parts; ``sizes`` are the sequences of each, ``exact`` counts the tokens of a part."""
    parts: list[list[int]] = []
    used = 0
    for at, length in enumerate(lengths):
        shared = _shared_beginning(prompts[at - 1], prompts[at]) if at else 0
        more = length - (shared if shared >= MIN_SHARED else 0)
        if not parts or not _fits(used + more, [*parts[-1], at], sizes, budget, exact):
            parts.append([])
            used, more = 0, length
        parts[-1].append(at)
        used += more
    return parts


def _fits(
    tokens: int, part: Sequence[int], sizes: Sequence[int], budget: int, exact: Callable[[Sequence[int]], int]
) -> bool:
    """Whether a part of about so many tokens is within the budget; each sequence may have MIN_SHARED - 1 more."""
    unshared = (MIN_SHARED - 1) * sum(sizes[at] for at in part)
    return tokens <= budget and (tokens + unshared <= budget or exact(part) <= budget)


def _texts_length(texts: Sequence[Sequence[int]]) -> int:
    return measure_stream(texts, [()] * len(texts))


def _length(views: Views, rows: Sequence[int]) -> int:
    unit = views.take(rows)
    return measure_stream(unit.prompts + unit.prompts, unit.chosen + unit.rejected)


def _shared_beginning(first: Sequence[int], second: Sequence[int]) -> int:
    """Tokens that two prompts have in common at their beginning."""
    both = min(len(first), len(second))
    return next((at for at in range(both) if first[at] != second[at]), both)
