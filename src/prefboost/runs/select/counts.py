"""Counts of a selection: of parts, and their sums, which are exact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from prefboost.preferences.scales.kinds import Scores
from prefboost.tables import Table

__all__ = ["count_part", "count_selection", "sum_counts", "sum_exactly"]


def count_selection(table: Table, selected: Table) -> dict[str, Any]:
    """Count completions, prompts and mean scores, of all and of those kept, and rejects by reason."""
    return sum_counts([count_part(table, selected)], selected.count_rejects())


def count_part(table: Table, selected: Table) -> dict[str, Any]:
    """Count a part of a table as `count_selection` does the whole; sums of scores are exact, as text."""
    counts: dict[str, Any] = {}
    for name, each in (("", table), (" kept", selected)):
        columns = each.read_columns(["prompt_id", "score"])
        scores = columns["score"].drop_nulls()
        counts[f"rows{name}"] = len(each)
        counts[f"prompts{name}"] = columns["prompt_id"].n_unique()
        counts[f"scored{name}"] = len(scores)
        counts[f"sum{name}"] = str(sum_exactly(scores.to_numpy()))
    return counts


def sum_counts(parts: Sequence[Mapping[str, Any]], rejected: Mapping[str, int]) -> dict[str, Any]:
    """Sum the counts of parts (`count_part`) that share no prompt, beside the rejects of all by reason."""

    def sum_over(name: str) -> int:
        return sum(part[name] for part in parts)

    def compute_mean(name: str) -> float | None:
        total, count = sum(Fraction(part[f"sum{name}"]) for part in parts), sum_over(f"scored{name}")
        return float(total / count) if count else None

    return {
        "rows": sum_over("rows"),
        "kept": sum_over("rows kept"),
        "prompts": sum_over("prompts"),
        "prompts kept": sum_over("prompts kept"),
        "score mean": compute_mean(""),
        "score mean kept": compute_mean(" kept"),
        "rejected": dict(sorted(rejected.items(), key=lambda each: (-each[1], each[0]))),
    }


def sum_exactly(numbers: Scores) -> Fraction:
    """Sum finite float64 numbers without any rounding, so that the sum does not depend on their order or grouping."""
    mantissas, exponents = np.frexp(numbers)
    wholes = (mantissas * 2**53).astype(np.int64)
    total = Fraction(0)
    for exponent in np.unique(exponents):
        of_exponent = wholes[exponents == exponent]
        # In two halves, of which no sum of fewer than 2^36 numbers overflows.
        whole = (int((of_exponent >> 26).sum()) << 26) + int((of_exponent & (2**26 - 1)).sum())
        total += Fraction(whole) * Fraction(2) ** (int(exponent) - 53)
    return total
