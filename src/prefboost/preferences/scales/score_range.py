"""Infer the range of scores that nobody declared from their distribution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["PUBLISHED", "ScoreRange", "infer_score_range"]

PUBLISHED = (1.0, 10.0)
"""The scale of arXiv 2410.08067, for scores whose source declares none and that fit it."""

STARS = (1.0, 5.0)
"""The range of scores from 1 that never pass 5: on a scale to 10, no completion would have the highest goal."""

_FEW = 0.05
"""Share of scores that may lie outside an assumed range: slips and marks for "not rated", such as 99."""

_SURE = 10
"""Scores per mark from which on marks that nobody used are taken to be none of the scale."""

_MOST_MARK = 100.0
_TAILS = 2.0
"""Tails are scores outside the middle 98 %, where all scores spread over this many times its width."""


@dataclass(frozen=True)
class ScoreRange:
    """The ends of a range, and what is done with scores that have it.

    Args:
        kind: declared: scores stay as they are, those outside are rejects; min_max, quantile: the ends are fitted to
            the data, and become those of `PUBLISHED`.
        ends: lowest and highest.
        because: one clause, for the report.
    """

    kind: Literal["declared", "min_max", "quantile"]
    ends: tuple[float, float]
    because: str


def infer_score_range(scores: NDArray[np.float64]) -> ScoreRange:
    """Infer the range of scores that come without a declared one.

    Args:
        scores: finite, all of the data set, shape (n,).

    Returns:
        1 to 10 (or 1 to 5, where no score is higher) if the scores fit it, as the paper's do; the lowest and highest
        mark where the scores are whole or half ones from 0 up; else a fit, by quantiles where a few scores lie far out.
    """
    if not len(scores):
        return ScoreRange("declared", PUBLISHED, "")
    low, high = float(scores.min()), float(scores.max())
    seen = f"no range is declared, and the scores reach from {low:.6g} to {high:.6g}"
    inside = scores[(scores >= PUBLISHED[0]) & (scores <= PUBLISHED[1])]
    outside = len(scores) - len(inside)
    # The tail of a distribution such as a reward model's logits is no slip; slips stand among printed marks, which have
    # two decimals at most.
    printed = not outside or np.allclose(inside * 100, np.round(inside * 100), rtol=0, atol=1e-6)
    if outside <= _FEW * len(scores) and printed:
        assumed = STARS if inside.max() <= STARS[1] else PUBLISHED
        return ScoreRange("declared", assumed, f"{seen}{_suggest_likert(scores, assumed)}")
    marks = bool(np.all(scores * 2 == np.round(scores * 2)))
    if low < high and marks and low >= 0 and high <= _MOST_MARK:
        return ScoreRange("declared", (low, high), seen)
    lower, upper = (float(end) for end in np.quantile(scores, [0.01, 0.99]))
    if lower < upper and high - low > _TAILS * (upper - lower):
        return ScoreRange("quantile", (lower, upper), f"{seen}, 98 % of them from {lower:.6g} to {upper:.6g}")
    return ScoreRange("min_max", (low, high), seen)


def _suggest_likert(scores: NDArray[np.float64], assumed: tuple[float, float]) -> str:
    """Suggest the scale from 1 whose every mark the scores use, where it is not the assumed one; empty for none.

    A scale of 1 to 7 fits 1 to 10 too, and only whoever made the scores knows which of the two it is.
    """
    marks, counts = np.unique(scores, return_counts=True)
    used = len(marks) > 2 and np.array_equal(marks, np.arange(1, len(marks) + 1))
    # Marks that are used this often leave no doubt that a higher one would have been used as well.
    if not used or len(marks) == assumed[1] or counts.sum() < _SURE * len(marks):
        return ""
    return (
        f": every whole mark from 1 to {len(marks)}; if that is their scale, say so: data.score_range=[1,{len(marks)}]"
    )
