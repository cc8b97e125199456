"""Patience with failures: which are asked again, and how few answers a run may end with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from prefboost.errors import RunError
from prefboost.settings import Settings

__all__ = ["Patience", "Retry", "check_answered"]

Retry = Literal["failed", "refused", "none"]
"""Recorded failures that are asked again. failed: all but refusals of a row's content; refused: those too."""


class Patience(Settings):
    """Settings of what is asked again, and when too little was answered."""

    retry: Retry = Field(
        "failed",
        description="Rows without an answer that the next call asks again. failed: all but those whose content was "
        "refused; refused: those too; none: none.",
    )
    least_answered: float = Field(
        0.5,
        ge=0.0,
        le=1.0,
        description="Smallest share of rows that a model must answer; with less, or with none, the command writes what "
        "there is and ends with an error.",
    )


def check_answered(answered: int, rows: int, patience: Patience, reasons: Iterable[str]) -> None:
    """Refuse to count a run as done of which a model answered nothing, or less than a share.

    Args:
        answered: rows with an answer, those of earlier calls included.
        rows: that a model was to answer.
        patience: the share.
        reasons: why the others have none, as the engine says it; the commonest is shown.

    Raises:
        RunError: too little was answered.
    """
    if not rows or (answered and answered >= patience.least_answered * rows):
        return
    counts: dict[str, int] = {}
    for reason in reasons:
        counts[reason] = counts.get(reason, 0) + 1
    # Rows fail for few reasons; the commonest is most likely the one to mend.
    reason, count = max(counts.items(), key=lambda item: item[1], default=("no reason is recorded", 0))
    share = f", less than least_answered ({patience.least_answered:g})" if answered else ""
    raise RunError(
        f"{answered:,} of {rows:,} rows were answered{share}; {count:,} times: {reason[:200]}",
        remedy="the answered rows are written, with the reason for every other row; correct the cause and run the same "
        "command again: it asks only the others (refused contents with retry=refused)",
    )
