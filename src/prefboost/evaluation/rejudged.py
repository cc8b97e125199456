"""The same completions judged again later: whether a judge still says of them what it said."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from prefboost.errors import DataError
from prefboost.evaluation.benchmark import JudgeVerdict
from prefboost.statistics import Interval, bootstrap_mean

__all__ = ["Rejudged", "rejudged"]


@dataclass(frozen=True)
class Rejudged:
    """How verdicts on the same completions have moved.

    Args:
        change: mean of the later value less the earlier one, in the unit of the values; prompts are drawn whole.
        same: share of verdicts that name the same winner (a share of the win on the same side of one half).
        largest: the largest change of one verdict, in absolute value.
        verdicts: that are compared.
        other: verdicts on both sides whose completion is another one, and which say nothing of the judge.
        missing: verdicts on both sides of which one has no value.
    """

    change: Interval
    same: Interval
    largest: float
    verdicts: int
    other: int
    missing: int

    @property
    def moved(self) -> bool:
        """Whether the interval of the change holds no 0."""
        return self.change.excludes(0.0)


def rejudged(earlier: Iterable[JudgeVerdict], later: Iterable[JudgeVerdict]) -> Rejudged:
    """Hold later verdicts against earlier ones, row by row: the same prompt, model and order or turn.

    Args:
        earlier: of an evaluation.
        later: of some of its completions, judged again: 50 prompts show a change of a few points.

    Raises:
        DataError: no verdict is on both sides with the same completion and a value.
    """
    before = {(one.uid, one.model, one.part): one for one in earlier}
    both = [(before[key], one) for one in later if (key := (one.uid, one.model, one.part)) in before]
    alike = [(old, new) for old, new in both if old.facts.get("completion") == new.facts.get("completion")]
    told = [(old.uid, old.value, new.value) for old, new in alike if old.value is not None and new.value is not None]
    if not told:
        raise DataError(
            f"of {len(both)} verdicts on both sides none has the same completion and a value",
            remedy="judge the very completions of the earlier evaluation again",
        )
    prompts = [uid for uid, _, _ in told]
    old, new = np.array([[one, other] for _, one, other in told]).T
    return Rejudged(
        bootstrap_mean(new - old, clusters=prompts),
        bootstrap_mean(np.sign(new - 0.5) == np.sign(old - 0.5), clusters=prompts),
        float(np.abs(new - old).max()),
        len(told),
        len(both) - len(alike),
        len(alike) - len(told),
    )
