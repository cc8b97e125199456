"""Drift of a judge: the same completions judged again later."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from prefboost.errors import DataError
from prefboost.evaluation.benchmark import JudgeVerdict
from prefboost.statistics import Interval, bootstrap_mean

__all__ = ["RejudgedDrift", "compare_rejudged"]


@dataclass(frozen=True)
class RejudgedDrift:
    """Changes of verdicts on the same completions.

    Args:
        change: mean of the later value minus the earlier one, in the unit of the values; prompts are drawn whole.
        same: share of verdicts that name the same winner (a share of the win on the same side of one half).
        largest: largest absolute change of one verdict.
        verdicts: number of compared verdicts.
        other: verdicts in both files whose completion has changed, and which say nothing of the judge.
        missing: verdicts in both files of which one has no value.
    """

    change: Interval
    same: Interval
    largest: float
    verdicts: int
    other: int
    missing: int

    @property
    def moved(self) -> bool:
        """True if the interval of the change leaves out 0."""
        return self.change.excludes(0.0)


def compare_rejudged(earlier: Iterable[JudgeVerdict], later: Iterable[JudgeVerdict]) -> RejudgedDrift:
    """Compare later verdicts with earlier ones, row by row: the same prompt, model and order or turn.

    Args:
        earlier: verdicts of an evaluation.
        later: verdicts on some of its completions, judged again; 50 prompts show a change of a few points.

    Raises:
        DataError: no row has the same completion and a value in both files.
    """
    before = {(verdict.uid, verdict.model, verdict.part): verdict for verdict in earlier}
    # The later file may judge a sample of the completions only.
    pairs = [(before[key], new) for new in later if (key := (new.uid, new.model, new.part)) in before]
    comparable = [(old, new) for old, new in pairs if old.facts.get("completion") == new.facts.get("completion")]
    rows = [
        (old.uid, old.value, new.value) for old, new in comparable if old.value is not None and new.value is not None
    ]
    if not rows:
        raise DataError(
            f"of {len(pairs)} verdicts on both sides none has the same completion and a value",
            remedy="judge the same completions as the earlier evaluation",
        )
    prompts = [uid for uid, _, _ in rows]
    old_values, new_values = np.array([values for _, *values in rows]).T
    changes = new_values - old_values
    return RejudgedDrift(
        bootstrap_mean(changes, clusters=prompts),
        bootstrap_mean(np.sign(new_values - 0.5) == np.sign(old_values - 0.5), clusters=prompts),
        float(np.abs(changes).max()),
        len(rows),
        len(pairs) - len(comparable),
        len(comparable) - len(rows),
    )
