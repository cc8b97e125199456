"""Score scales: fitted once, stored with the data, applied again when a score is asked for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Literal, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field, model_validator

from prefboost.errors import DataError
from prefboost.preferences.missing_marks import describe_marks, find_marks
from prefboost.preferences.score_range import PUBLISHED, range_of
from prefboost.settings import Settings, choice
from prefboost.tables import SCORED_COMPLETIONS, Table, aspects_of

__all__ = [
    "SCALES",
    "DeclaredRange",
    "FittedScale",
    "MinMax",
    "Percentile",
    "Quantile",
    "Scale",
    "asked_scale",
    "declared_by",
    "fit_scale",
    "fit_scales",
    "fit_without_marks",
    "score_columns",
]

Scores = NDArray[np.float64]


class FittedScale(Settings):
    """A monotone map from a source's scores to the scale that goals are said on: straight lines between knots.

    Scores beyond the outer knots take the outer values, or are refused where ``strict``.
    """

    kind: str = Field(description="The scale it was fitted as.")
    knots: tuple[float, ...] = Field(min_length=2, description="Source scores, rising.")
    values: tuple[float, ...] = Field(min_length=2, description="What each knot becomes, not falling.")
    decimals: int | None = Field(None, description="Mapped scores are rounded to so many decimals; none keeps them.")
    strict: bool = Field(False, description="Whether scores beyond the outer knots are rejects.")
    because: str = Field("", description="What the knots were told by, where nobody declared them.")
    missing: tuple[float, ...] = Field(
        (), description="Source scores that stand for a missing one; their rows are rejects."
    )

    @model_validator(mode="after")
    def _rises(self) -> FittedScale:
        if len(self.knots) != len(self.values):
            raise ValueError(f"{len(self.knots)} knots and {len(self.values)} values; give one value a knot")
        if any(a >= b for a, b in zip(self.knots, self.knots[1:], strict=False)):
            raise ValueError("knots must rise")
        if any(a > b for a, b in zip(self.values, self.values[1:], strict=False)):
            raise ValueError("values must not fall")
        return self

    @property
    def top(self) -> float:
        """r_max: the highest score of the scale, asked for at inference when nothing else is."""
        return self.values[-1]

    @property
    def is_identity(self) -> bool:
        """Whether it changes nothing within its range."""
        return self.knots == self.values and self.decimals is None

    def apply(self, score: float) -> float:
        """One source score on the scale (piecewise linear, clipped)."""
        return float(self.apply_many(np.asarray([score]))[0])

    def apply_many(self, scores: Scores) -> Scores:
        """An array of source scores on the scale; NaN stays NaN."""
        # Clipped, since the slope between knots that lie closer than 1e-308 overflows.
        mapped = np.clip(np.interp(scores, self.knots, self.values), self.values[0], self.values[-1])
        mapped = np.where(np.isnan(scores), np.nan, mapped)
        return mapped if self.decimals is None else np.round(mapped, self.decimals)


class Scale(Protocol):
    """How a scale is fitted."""

    def fit(self, scores: Scores) -> FittedScale:
        """Fit to finite scores of a data set."""

    @property
    def needs_scores(self) -> bool:
        """Whether fitting reads the data."""


class DeclaredRange(Settings):
    """The source's range as its makers declare it, kept or stretched to the scale; scores outside are rejects.

    What is not set here is the source's own (HelpSteer 0 to 4, UltraFeedback 1 to 10, its aspects 1 to 5, a file's
    ``score_range``). Where the source declares none either, the scores are looked at: those that fit 1 to 10 or 1 to 5
    and whole or half marks from 0 up stay as they are, others are fitted to 1 to 10 (`range_of`).
    """

    kind: Literal["declared"] = Field("declared", description="The scale's name in recipes.")
    low: float | None = Field(
        None, description="Lowest score of the source; none is what it declares itself, else what the scores show."
    )
    high: float | None = Field(
        None, description="Highest score of the source; none is what it declares, else what the scores show."
    )
    to_low: float | None = Field(None, description="What the lowest becomes; none keeps the source's scores.")
    to_high: float | None = Field(None, description="What the highest becomes; none keeps the source's scores.")

    @model_validator(mode="after")
    def _ordered(self) -> DeclaredRange:
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError(f"low {self.low:g} must be below high {self.high:g}")
        return self

    @property
    def needs_scores(self) -> bool:
        """One pass where no end is known."""
        return self.low is None and self.high is None

    def within(self, own: tuple[float, float]) -> DeclaredRange:
        """With the source's own ends where none are set."""
        ends = {"low": own[0] if self.low is None else self.low, "high": own[1] if self.high is None else self.high}
        return self.model_copy(update=ends)

    def fit(self, scores: Scores) -> FittedScale:
        """See `Scale`; ``scores`` play a part only where no end is known.

        Raises:
            DataError: the end that is set lies on the wrong side of the source's own other end.
        """
        if self.needs_scores:
            return self._as_they_show(scores)
        ends = (PUBLISHED[0] if self.low is None else self.low, PUBLISHED[1] if self.high is None else self.high)
        if ends[0] >= ends[1]:
            raise DataError(
                f"the scale's low {ends[0]:g} is not below its high {ends[1]:g}",
                remedy="set both ends: scale: {kind: declared, low: ..., high: ...}",
            )
        low = ends[0] if self.to_low is None else self.to_low
        high = ends[1] if self.to_high is None else self.to_high
        return FittedScale(kind=self.kind, knots=ends, values=(low, high), strict=True)

    def _as_they_show(self, scores: Scores) -> FittedScale:
        shown = range_of(scores)
        kept = shown.kind == "declared"
        if not kept:
            _ends(scores)
        low, high = shown.ends if kept else PUBLISHED
        values = (low if self.to_low is None else self.to_low, high if self.to_high is None else self.to_high)
        return FittedScale(kind=shown.kind, knots=shown.ends, values=values, strict=kept, because=shown.because)


class MinMax(Settings):
    """The lowest and highest score of the data become the ends of the scale."""

    kind: Literal["min_max"] = Field("min_max", description="The scale's name in recipes.")
    low: float = Field(1.0, description="What the lowest score becomes.")
    high: float = Field(10.0, description="What the highest score becomes.")

    @property
    def needs_scores(self) -> bool:
        """One pass."""
        return True

    def fit(self, scores: Scores) -> FittedScale:
        """See `Scale`."""
        ends = _ends(scores)
        return FittedScale(kind=self.kind, knots=ends, values=(self.low, self.high))


class Quantile(Settings):
    """Robust ends: two quantiles become the ends of the scale, what lies beyond is clipped."""

    kind: Literal["quantile"] = Field("quantile", description="The scale's name in recipes.")
    lower: float = Field(0.01, ge=0, lt=0.5, description="Share of scores below the lower end.")
    upper: float = Field(0.99, gt=0.5, le=1, description="Share of scores below the upper end.")
    low: float = Field(1.0, description="What the lower quantile becomes.")
    high: float = Field(10.0, description="What the upper quantile becomes.")

    @property
    def needs_scores(self) -> bool:
        """One pass."""
        return True

    def fit(self, scores: Scores) -> FittedScale:
        """See `Scale`."""
        _ends(scores)
        lower, upper = (float(value) for value in np.quantile(scores, [self.lower, self.upper]))
        if lower == upper:
            lower, upper = _ends(scores)
        return FittedScale(kind=self.kind, knots=(lower, upper), values=(self.low, self.high))


class Percentile(Settings):
    """Percentile rank to 1-10 with one decimal: for scores without a scale of their own, such as implicit rewards.

    The published map from implicit reward to printed goal is unknown; this one is ours, and is stored.
    """

    kind: Literal["percentile"] = Field("percentile", description="The scale's name in recipes.")
    low: float = Field(1.0, description="What the lowest percentile becomes.")
    high: float = Field(10.0, description="What the highest percentile becomes.")
    decimals: int = Field(1, ge=0, le=6, description="Decimals of the mapped scores.")
    steps: int = Field(200, ge=2, description="Straight pieces of the stored map.")

    @property
    def needs_scores(self) -> bool:
        """One pass."""
        return True

    def fit(self, scores: Scores) -> FittedScale:
        """See `Scale`: equal scores share the middle of their ranks; the outer ranks become the ends."""
        _ends(scores)
        ordered = np.sort(scores)
        at = np.unique(np.quantile(ordered, np.linspace(0, 1, self.steps + 1)))
        below = np.searchsorted(ordered, at, side="left")
        middle = (below + np.searchsorted(ordered, at, side="right") - 1) / 2
        share = (middle - middle[0]) / (middle[-1] - middle[0])
        values = self.low + (self.high - self.low) * share
        return FittedScale(
            kind=self.kind, knots=tuple(at.tolist()), values=tuple(values.tolist()), decimals=self.decimals
        )


SCALES: dict[str, type[Settings]] = {
    "declared": DeclaredRange,
    "min_max": MinMax,
    "quantile": Quantile,
    "percentile": Percentile,
}
"""Built-in scales by kind."""

AnyScale = Annotated[Scale, choice(SCALES)]


def declared_by(table: Table) -> tuple[float, float] | None:
    """The range that whatever gave a table its scores declares, a source or a scorer; None where it declares none."""
    last = next((each for each in reversed(table.steps) if each.verb == "score" or "score range" in each.notes), None)
    found = None if last is None else last.notes.get("score range")
    return None if found is None else (float(found[0]), float(found[1]))


def fit_scale(scale: Scale, scores: Iterable[pl.Series] = (), *, own: tuple[float, float] | None = None) -> FittedScale:
    """Fit a scale to the scores of a whole data set, which may come in pieces.

    Args:
        scale: how.
        scores: pieces; nulls, NaN and infinities are left out. Not read where the scale needs none.
        own: the range that the source declares (`declared_by`), for a `DeclaredRange` that sets none. What lies in it
            is never taken for a mark of missing scores (`prefboost.preferences.missing_marks`); of others, marks are
            left out of the fit and noted in the scale.

    Raises:
        DataError: no two different finite scores to fit to.
    """
    if isinstance(scale, DeclaredRange) and own is not None:
        scale = scale.within(own)
    if not scale.needs_scores:
        return scale.fit(np.empty(0))
    pieces = [piece.drop_nulls().cast(pl.Float64).to_numpy() for piece in scores]
    joined = np.concatenate(pieces) if pieces else np.empty(0)
    return fit_without_marks(scale, joined[np.isfinite(joined)], own)


def fit_without_marks(scale: Scale, scores: Scores, own: tuple[float, float] | None = None) -> FittedScale:
    """Fit a scale to scores without those that stand for missing ones, which the scale notes.

    Args:
        scale: how.
        scores: finite.
        own: the range that the source declares.
    """
    marks = [mark for mark in find_marks(scores) if own is None or not own[0] <= mark <= own[1]]
    if not marks:
        return scale.fit(scores)
    fitted = scale.fit(scores[~np.isin(scores, marks)])
    because = "; ".join(filter(None, (fitted.because, describe_marks(scores, marks))))
    return fitted.model_copy(update={"missing": tuple(marks), "because": because})


def fit_scales(
    scale: Scale, tables: Iterable[Table], *, aspects: Sequence[str] = (), own: tuple[float, float] | None = None
) -> dict[str, FittedScale]:
    """`fit_scale` to the overall score, and to each aspect that goals are made of: an aspect has a scale of its own.

    A declared range is the overall score's; an aspect then reaches from its lowest to its highest score in the data.

    Args:
        scale: how.
        tables: pieces of the data set; not read where nothing is fitted to them.
        aspects: names; those that the data lack are left out.
        own: the range that the source declares for the overall score.

    Returns:
        aspect -> scale; "" is the overall score.

    Raises:
        DataError: a column has no two different finite scores.
    """
    if isinstance(scale, DeclaredRange) and own is not None:
        scale = scale.within(own)
    pieces: dict[str, list[pl.Series]] = defaultdict(list)
    for table in tables if scale.needs_scores or aspects else ():
        for name in score_columns(table):
            aspect = name.partition(".")[2]
            if not aspect or aspect in aspects:
                pieces[aspect].append(table.frame[name])
    found = {"": fit_scale(scale, pieces[""], own=own)}
    for aspect in (name for name in aspects if name in pieces):
        try:
            found[aspect] = fit_scale(_of_aspect(scale), pieces[aspect])
        except DataError as error:
            raise DataError(f"aspect {aspect}: {error.found}", remedy="leave it out of relabel.aspects") from None
    return found


def _of_aspect(scale: Scale) -> Scale:
    return _Found(low=scale.to_low, high=scale.to_high) if isinstance(scale, DeclaredRange) else scale


class _Found(Settings):
    """The lowest and highest score of the data, kept or stretched."""

    low: float | None = None
    high: float | None = None

    @property
    def needs_scores(self) -> bool:
        return True

    def fit(self, scores: Scores) -> FittedScale:
        ends = _ends(scores)
        values = (ends[0] if self.low is None else self.low, ends[1] if self.high is None else self.high)
        return FittedScale(kind="declared", knots=ends, values=values)


def asked_scale(scales: Mapping[str, FittedScale], aspects: Sequence[str]) -> FittedScale | None:
    """The scale that goals are said on: the overall score's, or one that holds those of all aspects asked for."""
    own = [scales[name].values for name in aspects if name in scales]
    if not own:
        return scales.get("")
    ends = (min(values[0] for values in own), max(values[-1] for values in own))
    return FittedScale(kind="aspects", knots=ends, values=ends) if ends[0] < ends[1] else scales.get("")


def score_columns(table: Table) -> list[str]:
    """The columns of a table that hold overall scores, and those of aspects."""
    families = ("score",) if table.spec is SCORED_COMPLETIONS else ("score_chosen", "score_rejected")
    names = [name for name in families if name in table.frame.columns]
    return names + [f"{family}.{a}" for family in families for a in aspects_of(table.frame.schema, family)]


def _ends(scores: Scores) -> tuple[float, float]:
    if not len(scores) or scores.min() == scores.max():
        found = "none" if not len(scores) else f"only the score {scores[0]:g}"
        raise DataError(
            f"a scale needs two different scores to be fitted to, found {found}",
            remedy="name the column of scores (columns.score), or declare the range: scale: {kind: declared, ...}",
        )
    return float(scores.min()), float(scores.max())
