"""Effects of the order in which answers are shown: how often both orders agree, and what each place is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from prefboost.errors import DataError
from prefboost.statistics.bootstrap import USUAL, Bootstrap, bootstrap_mean
from prefboost.statistics.columns import check_columns
from prefboost.statistics.interval import Interval

__all__ = ["PositionReport", "report_positions"]


@dataclass(frozen=True)
class PositionReport:
    """Shares in 0..1.

    Args:
        shown_first: share of the win where the model stands first; None where it never does.
        shown_second: the same where it stands second.
        consistency: share of prompts, judged in both orders, on which both name the same winner (or both a tie).
        ties: share of rows that are ties, exactly 0.5.
        swing: shown_second less shown_first on prompts judged in both orders; > 0 favours the second place.
    """

    shown_first: Interval | None
    shown_second: Interval | None
    consistency: Interval | None
    ties: float
    swing: Interval | None


def report_positions(
    shares: ArrayLike, first: Sequence[bool], prompts: Sequence[str], *, how: Bootstrap = USUAL
) -> PositionReport:
    """Measure how verdicts depend on the order.

    Args:
        shares: N shares of the win of one model, 0..1.
        first: [N], whether the model was shown first.
        prompts: N labels; at most one row per prompt and order.
        how: resamples, level, seed.

    Raises:
        DataError: there are no rows, columns differ in length, or a prompt stands twice in one order.
    """
    (column,) = check_columns(shares=shares)
    is_first = np.asarray(first, dtype=bool)
    if not len(column) == len(is_first) == len(prompts):
        raise DataError(
            f"{len(column)} shares, {len(is_first)} places and {len(prompts)} prompts",
            remedy="give every share its place and its prompt",
        )
    # A second row of a prompt in the same order would overwrite the first; the count shows that.
    rows = {(prompt, bool(place)): share for prompt, place, share in zip(prompts, is_first, column, strict=True)}
    if len(rows) != len(column):
        raise DataError(
            f"{len(column) - len(rows)} rows repeat a prompt in the same order", remedy="keep one verdict per order"
        )
    # Swing and consistency compare a prompt with itself, so that prompts judged in one order say nothing of them.
    labels = np.asarray(prompts)
    both = [prompt for prompt in dict.fromkeys(prompts) if (prompt, True) in rows and (prompt, False) in rows]
    # The same winner is meant, not the same share: 0.9 and 0.6 agree, and a tie agrees with a tie only.
    same = [np.sign(rows[prompt, True] - 0.5) == np.sign(rows[prompt, False] - 0.5) for prompt in both]
    swing = [rows[prompt, False] - rows[prompt, True] for prompt in both]

    def measure_place(place: bool) -> Interval | None:
        here = is_first == place
        return bootstrap_mean(column[here], clusters=labels[here], how=how) if here.any() else None

    return PositionReport(
        measure_place(True),
        measure_place(False),
        bootstrap_mean(same, how=how) if both else None,
        float((column == 0.5).mean()),
        bootstrap_mean(swing, how=how) if both else None,
    )
