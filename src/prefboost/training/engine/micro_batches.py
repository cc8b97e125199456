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
    """Return the tokens of a micro-batch where the settings name none.

    Args:
        device: its type.
        precision: of the training, as in the settings.
    """
    if precision == "fp32" and device != "cuda":
        return WIDE_TOKEN_BUDGET
    return TOKEN_BUDGET.get(device, TOKEN_BUDGET["cpu"])


def split_by_budget(views: Views, budget: int) -> list[list[int]]:
    """Split the rows of views into micro-batches; all views of a unit stay in one.

    Units are put in the order of their prompts, so that those with a common beginning meet, and taken greedily. What
    neighbours share is counted once. What then remains of a prompt may be too short to be shared any more, so that a
    part that is nearly full is counted exactly.

    Args:
        views: of an optimiser batch.
        budget: most tokens of a part's stream; a unit that is longer has a part of its own.

    Returns:
        rows of each part; together, every row once. The same for the same views, whatever process asks.
    """
    # All views of a unit share a prompt apart from the goal, so that parting them would compute it twice.
    rows: dict[int, list[int]] = {}
    for row, unit in enumerate(views.units):
        rows.setdefault(unit, []).append(row)
    # Sorted prompts bring common beginnings together; the row breaks ties, so that the order is the same everywhere.
    groups = sorted(rows.values(), key=lambda group: (tuple(views.prompts[group[0]]), group[0]))
    lengths = [_measure_views(views, group) for group in groups]
    prompts = [views.prompts[group[0]] for group in groups]
    # A view is two sequences: prompt with the chosen completion, and with the rejected one.
    sizes = [2 * len(group) for group in groups]
    parts = _fill_parts(
        lengths, prompts, sizes, budget, lambda part: _measure_views(views, [row for at in part for row in groups[at]])
    )
    return [[row for at in part for row in groups[at]] for part in parts]


def split_by_prompt_order(
    prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]], budget: int
) -> list[list[int]]:
    """Split sequences that need not stay together, as `split_by_budget` does; return indices of each part."""
    order = sorted(range(len(prompts)), key=lambda index: (tuple(prompts[index]), index))
    lengths = [len(prompts[index]) + len(completions[index]) for index in order]
    parts = _fill_parts(
        lengths,
        [prompts[index] for index in order],
        [1] * len(order),
        budget,
        lambda part: measure_stream([prompts[order[at]] for at in part], [completions[order[at]] for at in part]),
    )
    return [[order[at] for at in part] for part in parts]


def split_texts_by_budget(units: Sequence[Sequence[Sequence[int]]], budget: int) -> list[list[int]]:
    """Split units of texts that are judged whole, as `split_by_budget` does; return the units' indices of each part."""
    order = sorted(range(len(units)), key=lambda index: (tuple(units[index][0]), index))
    lengths = [_measure_texts(units[index]) for index in order]
    parts = _fill_parts(
        lengths,
        [units[index][0] for index in order],
        [len(units[index]) for index in order],
        budget,
        lambda part: _measure_texts([text for at in part for text in units[order[at]]]),
    )
    return [[order[at] for at in part] for part in parts]


def _fill_parts(
    lengths: Sequence[int],
    prompts: Sequence[Sequence[int]],
    sizes: Sequence[int],
    budget: int,
    exact: Callable[[Sequence[int]], int],
) -> list[list[int]]:
    """Fill parts with neighbours; ``sizes`` are the sequences of each, ``exact`` counts the tokens of a part."""
    parts: list[list[int]] = []
    used = 0
    for at, length in enumerate(lengths):
        # In sorted order no earlier prompt shares more with this one than its neighbour does.
        shared = _count_shared(prompts[at - 1], prompts[at]) if at else 0
        # Shorter common beginnings are not shared in the stream: a branch costs more than it saves.
        added = length - (shared if shared >= MIN_SHARED else 0)
        # A unit that alone exceeds the budget gets a part of its own: units are never cut.
        if not parts or not _fits(used + added, [*parts[-1], at], sizes, budget, exact):
            parts.append([])
            used, added = 0, length
        parts[-1].append(at)
        used += added
    return parts


def _fits(
    tokens: int, part: Sequence[int], sizes: Sequence[int], budget: int, exact: Callable[[Sequence[int]], int]
) -> bool:
    """Return whether a part of about so many tokens fits; each sequence may have MIN_SHARED - 1 tokens more."""
    # An exact count builds the trie of the part, which is slow; it is only needed near the limit.
    unshared = (MIN_SHARED - 1) * sum(sizes[at] for at in part)
    return tokens <= budget and (tokens + unshared <= budget or exact(part) <= budget)


def _measure_texts(texts: Sequence[Sequence[int]]) -> int:
    return measure_stream(texts, [()] * len(texts))


def _measure_views(views: Views, rows: Sequence[int]) -> int:
    unit = views.take(rows)
    return measure_stream(unit.prompts + unit.prompts, unit.chosen + unit.rejected)


def _count_shared(first: Sequence[int], second: Sequence[int]) -> int:
    """Count the tokens that two prompts have in common at their beginning."""
    both = min(len(first), len(second))
    return next((at for at in range(both) if first[at] != second[at]), both)
