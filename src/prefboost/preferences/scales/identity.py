"""The scale of scores that nothing maps: goals name them as they are, between the ends that they have."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from prefboost.preferences.scales.fit import find_declared_range, fit_without_marks
from prefboost.preferences.scales.kinds import FittedScale
from prefboost.preferences.scales.score_range import PUBLISHED, infer_score_range
from prefboost.settings import Settings
from prefboost.tables import Table

__all__ = ["IdentityScale", "build_identity_scale", "find_goal_scales"]


class IdentityScale(Settings):
    """Leaves every score as it is; the ends that prompts name are those of the source, or those the scores show."""

    ends: tuple[float, float] | None = Field(
        None, description="What the source declares; none is what the scores show."
    )

    @property
    def needs_scores(self) -> bool:
        """True where the source declares no ends."""
        return self.ends is None

    def fit(self, scores: NDArray[np.float64]) -> FittedScale:
        """Fit the ends (see `prefboost.preferences.scales.kinds.Scale`); scores beyond them stay as well."""
        if self.ends is not None:
            return FittedScale(kind="kept", knots=self.ends, values=self.ends)
        inferred = infer_score_range(scores)
        ends = inferred.ends if inferred.kind == "declared" else (float(scores.min()), float(scores.max()))
        ends = ends if ends[0] < ends[1] else PUBLISHED
        return FittedScale(kind="kept", knots=ends, values=ends, because=inferred.because)


def build_identity_scale(low: float, high: float) -> FittedScale:
    """Build the scale of scores that stay as they are, between two ends."""
    return FittedScale(kind="declared", knots=(low, high), values=(low, high))


def find_goal_scales(table: Table) -> dict[str, FittedScale]:
    """Find the scales on which the goals of a table are said.

    Returns:
        aspect -> scale: those that the table went through. Of a table that went through none, the overall score's alone
        ("" -> scale): the range that its source declares, or the ends of the scores where 1 to 10 cannot be theirs.
        Empty where 1 to 10 will do.
    """
    if table.scales:
        return dict(table.scales)
    declared = find_declared_range(table)
    if declared is not None:
        return {"": IdentityScale(ends=declared).fit(np.empty(0))}
    sides = [name for name in ("score_chosen", "score_rejected") if name in table.frame.columns]
    scores = pl.concat([table.frame[name].rename("score") for name in sides]).drop_nulls()
    # Nobody is asked for a 0 on a scale that begins at 1, so scores below 1 need ends of their own.
    fitted = fit_without_marks(IdentityScale(), scores.filter(scores.is_finite()).to_numpy())
    return {} if fitted.values == PUBLISHED and not fitted.missing else {"": fitted}
