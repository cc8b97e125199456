"""The scale of scores that nothing maps: they are said as they are, between the ends that they have."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from prefboost.preferences.goals import FittedScale, declared_by, fit_without_marks
from prefboost.preferences.score_range import PUBLISHED, range_of
from prefboost.settings import Settings
from prefboost.tables import Table

__all__ = ["KeptScores", "declared_scale", "scales_to_say"]


class KeptScores(Settings):
    """Every score stays what it is; the ends that prompts name are those of the source, or what the scores show."""

    ends: tuple[float, float] | None = Field(
        None, description="What the source declares; none is what the scores show."
    )

    @property
    def needs_scores(self) -> bool:
        """One pass where nothing is declared."""
        return self.ends is None

    def fit(self, scores: NDArray[np.float64]) -> FittedScale:
        """See `prefboost.preferences.goals.Scale`; scores beyond the ends stay as well."""
        if self.ends is not None:
            return FittedScale(kind="kept", knots=self.ends, values=self.ends)
        shown = range_of(scores)
        ends = shown.ends if shown.kind == "declared" else (float(scores.min()), float(scores.max()))
        ends = ends if ends[0] < ends[1] else PUBLISHED
        return FittedScale(kind="kept", knots=ends, values=ends, because=shown.because)


def declared_scale(low: float, high: float) -> FittedScale:
    """The scale of scores that are said as they are, between two ends."""
    return FittedScale(kind="declared", knots=(low, high), values=(low, high))


def scales_to_say(table: Table) -> dict[str, FittedScale]:
    """The scales of a table of goal pairs; of one that never went through a scale, the overall score's ends.

    Those are the range that its source declares, or the ends of the scores where 1 to 10 cannot be theirs: nobody is
    asked for a 0 on a scale that begins at 1. Nothing where 1 to 10 will do.
    """
    if table.scales:
        return dict(table.scales)
    own = declared_by(table)
    if own is not None:
        return {"": KeptScores(ends=own).fit(np.empty(0))}
    sides = [name for name in ("score_chosen", "score_rejected") if name in table.frame.columns]
    scores = pl.concat([table.frame[name].rename("score") for name in sides]).drop_nulls()
    fitted = fit_without_marks(KeptScores(), scores.filter(scores.is_finite()).to_numpy())
    return {} if fitted.values == PUBLISHED and not fitted.missing else {"": fitted}
