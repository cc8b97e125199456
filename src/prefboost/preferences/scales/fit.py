"""Fit scales to the scores of a data set, and find the one that goals are said on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from prefboost.errors import DataError
from prefboost.preferences.scales.kinds import DeclaredRange, FittedScale, Scale, Scores, find_ends
from prefboost.preferences.scales.missing_marks import describe_marks, find_marks
from prefboost.preferences.scales.score_range import PUBLISHED, infer_score_range
from prefboost.settings import Settings
from prefboost.tables import SCORED_COMPLETIONS, Table, aspects_of

__all__ = [
    "IdentityScale",
    "build_identity_scale",
    "choose_goal_scale",
    "find_declared_range",
    "find_goal_scales",
    "find_score_columns",
    "fit_scale",
    "fit_scales",
    "fit_without_marks",
]


def find_declared_range(table: Table) -> tuple[float, float] | None:
    """Read the range that a source or scorer declared for the scores of a table.

    Returns:
        lowest and highest score; None where the last one to give scores declared no range.
    """
    last = next((step for step in reversed(table.steps) if step.verb == "score" or "score range" in step.notes), None)
    ends = None if last is None else last.notes.get("score range")
    return None if ends is None else (float(ends[0]), float(ends[1]))


def fit_scale(
    scale: Scale, scores: Iterable[pl.Series] = (), *, declared: tuple[float, float] | None = None
) -> FittedScale:
    """Fit a scale to the scores of a whole data set, which may come in pieces.

    Args:
        scale: the kind of scale.
        scores: pieces; nulls, NaN and infinities are left out. Not read where the scale needs none.
        declared: the range that the source declares (`find_declared_range`), for a `DeclaredRange` that sets none.
            A score within it is never a mark of a missing one (`scales.missing_marks`); marks outside are left out of
            the fit and noted in the scale.

    Raises:
        DataError: the scores hold no two different finite numbers.
    """
    if isinstance(scale, DeclaredRange) and declared is not None:
        scale = scale.fill_ends(declared)
    if not scale.needs_scores:
        return scale.fit(np.empty(0))
    pieces = [piece.drop_nulls().cast(pl.Float64).to_numpy() for piece in scores]
    joined = np.concatenate(pieces) if pieces else np.empty(0)
    return fit_without_marks(scale, joined[np.isfinite(joined)], declared)


def fit_without_marks(scale: Scale, scores: Scores, declared: tuple[float, float] | None = None) -> FittedScale:
    """Fit a scale to the scores that are no marks of missing ones; note the marks in the scale.

    Args:
        scale: the kind of scale.
        scores: finite numbers, shape (n,).
        declared: the range that the source declares.
    """
    marks = [mark for mark in find_marks(scores) if declared is None or not declared[0] <= mark <= declared[1]]
    if not marks:
        return scale.fit(scores)
    fitted = scale.fit(scores[~np.isin(scores, marks)])
    because = "; ".join(filter(None, (fitted.because, describe_marks(scores, marks))))
    return fitted.model_copy(update={"missing": tuple(marks), "because": because})


def fit_scales(
    scale: Scale, tables: Iterable[Table], *, aspects: Sequence[str] = (), declared: tuple[float, float] | None = None
) -> dict[str, FittedScale]:
    """Fit one scale to the overall score, and one to each aspect that goals are made of.

    A declared range holds for the overall score only; the scale of an aspect reaches from its lowest to its highest
    score in the data.

    Args:
        scale: the kind of scale.
        tables: pieces of the data set; not read where nothing is fitted to them.
        aspects: names; those that the data lack are left out.
        declared: the range that the source declares for the overall score.

    Returns:
        aspect -> scale; "" is the overall score.

    Raises:
        DataError: a column has no two different finite scores.
    """
    if isinstance(scale, DeclaredRange) and declared is not None:
        scale = scale.fill_ends(declared)
    pieces: dict[str, list[pl.Series]] = defaultdict(list)
    for table in tables if scale.needs_scores or aspects else ():
        for name in find_score_columns(table):
            aspect = name.partition(".")[2]
            if not aspect or aspect in aspects:
                pieces[aspect].append(table.frame[name])
    scales = {"": fit_scale(scale, pieces[""], declared=declared)}
    # The declared ends are those of the overall score: an aspect takes its own from the data.
    of_aspect = _DataRange(low=scale.to_low, high=scale.to_high) if isinstance(scale, DeclaredRange) else scale
    for aspect in (name for name in aspects if name in pieces):
        try:
            scales[aspect] = fit_scale(of_aspect, pieces[aspect])
        except DataError as error:
            raise DataError(f"aspect {aspect}: {error.message}", remedy="leave it out of relabel.aspects") from None
    return scales


class _DataRange(Settings):
    """The lowest and highest score of the data, left as they are or stretched."""

    low: float | None = None
    high: float | None = None

    @property
    def needs_scores(self) -> bool:
        return True

    def fit(self, scores: Scores) -> FittedScale:
        ends = find_ends(scores)
        values = (ends[0] if self.low is None else self.low, ends[1] if self.high is None else self.high)
        return FittedScale(kind="declared", knots=ends, values=values)


def choose_goal_scale(scales: Mapping[str, FittedScale], aspects: Sequence[str]) -> FittedScale | None:
    """Choose the scale that a prompt names: the overall score's, or one that spans those of the requested aspects."""
    spans = [scales[name].values for name in aspects if name in scales]
    if not spans:
        return scales.get("")
    ends = (min(values[0] for values in spans), max(values[-1] for values in spans))
    return FittedScale(kind="aspects", knots=ends, values=ends) if ends[0] < ends[1] else scales.get("")


def find_score_columns(table: Table) -> list[str]:
    """List the columns of a table that hold scores: overall ones first, then those of aspects."""
    families = ("score",) if table.spec is SCORED_COMPLETIONS else ("score_chosen", "score_rejected")
    names = [name for name in families if name in table.schema]
    return names + [f"{family}.{a}" for family in families for a in aspects_of(table.schema, family)]


class IdentityScale(Settings):
    """Leaves every score as it is; the ends that prompts name are those of the source, or those the scores show."""

    ends: tuple[float, float] | None = Field(
        None, description="Range that the source declares; none is the range of the scores."
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
