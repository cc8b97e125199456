"""The kinds of score scales, and the record that fitting one gives."""

from __future__ import annotations

from typing import Annotated, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from prefboost.errors import DataError
from prefboost.preferences.scales.score_range import PUBLISHED, infer_score_range
from prefboost.settings import Settings, choice

__all__ = [
    "SCALES",
    "DeclaredRange",
    "FittedScale",
    "MinMax",
    "Percentile",
    "Quantile",
    "Scale",
    "Scores",
    "find_ends",
]

Scores = NDArray[np.float64]
"""Scores of a data set, shape (n,), in the units of their source."""


class FittedScale(Settings):
    """A monotone map from a source's scores to the scale that goals are said on: straight lines between knots.

    Scores beyond the outer knots take the outer values, or are refused where ``strict``.
    """

    kind: str = Field(description="The scale it was fitted as.")
    knots: tuple[float, ...] = Field(min_length=2, description="Source scores, rising.")
    values: tuple[float, ...] = Field(min_length=2, description="Value of each knot, not falling.")
    decimals: int | None = Field(None, description="Mapped scores are rounded to so many decimals; none keeps them.")
    strict: bool = Field(False, description="Reject scores beyond the outer knots.")
    because: str = Field("", description="Origin of the knots, where nobody declared them.")
    missing: tuple[float, ...] = Field(
        (), description="Source scores that stand for a missing one; their rows are rejects."
    )

    @model_validator(mode="after")
    def _check_knots(self) -> FittedScale:
        if len(self.knots) != len(self.values):
            raise ValueError(f"{len(self.knots)} knots and {len(self.values)} values; give one value per knot")
        if any(a >= b for a, b in zip(self.knots, self.knots[1:], strict=False)):
            raise ValueError("knots must rise")
        if any(a > b for a, b in zip(self.values, self.values[1:], strict=False)):
            raise ValueError("values must not fall")
        return self

    @property
    def top(self) -> float:
        """r_max: the highest score of the scale, the goal at inference where none is given."""
        return self.values[-1]

    @property
    def is_identity(self) -> bool:
        """True where it changes no score within its range."""
        return self.knots == self.values and self.decimals is None

    def apply(self, score: float) -> float:
        """Map one source score onto the scale (piecewise linear, clipped)."""
        return float(self.apply_many(np.asarray([score]))[0])

    def apply_many(self, scores: Scores) -> Scores:
        """Map source scores onto the scale, element by element; NaN stays NaN."""
        # Clipped, since the slope between knots that lie closer than 1e-308 overflows.
        mapped = np.clip(np.interp(scores, self.knots, self.values), self.values[0], self.values[-1])
        mapped = np.where(np.isnan(scores), np.nan, mapped)
        return mapped if self.decimals is None else np.round(mapped, self.decimals)


class Scale(Protocol):
    """A way to fit a scale to scores."""

    def fit(self, scores: Scores) -> FittedScale:
        """Fit to the finite scores of a data set.

        Raises:
            DataError: the scores do not determine the scale.
        """

    @property
    def needs_scores(self) -> bool:
        """True where fitting reads the data."""


class DeclaredRange(Settings):
    """The source's range as its makers declare it, kept or stretched to the scale; scores outside are rejects.

    What is not set here is the source's own (HelpSteer 0 to 4, UltraFeedback 1 to 10, its aspects 1 to 5, a file's
    ``score_range``). Where the source declares none either, the scores are looked at: those that fit 1 to 10 or 1 to 5
    and whole or half marks from 0 up stay as they are, others are fitted to 1 to 10 (`infer_score_range`).
    """

    kind: Literal["declared"] = Field("declared", description="The scale's name in recipes.")
    low: float | None = Field(
        None, description="Lowest score of the source; none is what it declares itself, else what the scores show."
    )
    high: float | None = Field(
        None, description="Highest score of the source; none is what it declares, else what the scores show."
    )
    to_low: float | None = Field(None, description="Value of the lowest; none keeps the source's scores.")
    to_high: float | None = Field(None, description="Value of the highest; none keeps the source's scores.")

    @model_validator(mode="after")
    def _check_order(self) -> DeclaredRange:
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError(f"low {self.low:g} must be below high {self.high:g}")
        return self

    @property
    def needs_scores(self) -> bool:
        """True where neither end is set."""
        return self.low is None and self.high is None

    def fill_ends(self, declared: tuple[float, float]) -> DeclaredRange:
        """Fill the ends that are not set with those that the source declares."""
        low, high = declared
        ends = {"low": low if self.low is None else self.low, "high": high if self.high is None else self.high}
        return self.model_copy(update=ends)

    def fit(self, scores: Scores) -> FittedScale:
        """Fit the declared ends (see `Scale`); ``scores`` play a part only where none is known.

        Raises:
            DataError: the end that is set lies on the wrong side of the source's own other end.
        """
        if self.needs_scores:
            inferred = infer_score_range(scores)
            # Only an assumed range can turn out wrong; a fitted one has every score within or clips it.
            strict = inferred.kind == "declared"
            if not strict:
                find_ends(scores)  # for its error: a constant score fits nothing
            low, high = inferred.ends if strict else PUBLISHED
            values = (low if self.to_low is None else self.to_low, high if self.to_high is None else self.to_high)
            return FittedScale(
                kind=inferred.kind, knots=inferred.ends, values=values, strict=strict, because=inferred.because
            )
        ends = (PUBLISHED[0] if self.low is None else self.low, PUBLISHED[1] if self.high is None else self.high)
        if ends[0] >= ends[1]:
            raise DataError(
                f"the scale's low {ends[0]:g} is not below its high {ends[1]:g}",
                remedy="set both ends: scale: {kind: declared, low: ..., high: ...}",
            )
        low = ends[0] if self.to_low is None else self.to_low
        high = ends[1] if self.to_high is None else self.to_high
        return FittedScale(kind=self.kind, knots=ends, values=(low, high), strict=True)


class MinMax(Settings):
    """The lowest and highest score of the data become the ends of the scale."""

    kind: Literal["min_max"] = Field("min_max", description="The scale's name in recipes.")
    low: float = Field(1.0, description="Value of the lowest score.")
    high: float = Field(10.0, description="Value of the highest score.")

    @property
    def needs_scores(self) -> bool:
        """True: the ends are those of the data."""
        return True

    def fit(self, scores: Scores) -> FittedScale:
        """Fit the lowest and highest score (see `Scale`)."""
        ends = find_ends(scores)
        return FittedScale(kind=self.kind, knots=ends, values=(self.low, self.high))


class Quantile(Settings):
    """Robust ends: two quantiles become the ends of the scale, what lies beyond is clipped."""

    kind: Literal["quantile"] = Field("quantile", description="The scale's name in recipes.")
    lower: float = Field(0.01, ge=0, lt=0.5, description="Share of scores below the lower end.")
    upper: float = Field(0.99, gt=0.5, le=1, description="Share of scores below the upper end.")
    low: float = Field(1.0, description="Value of the lower quantile.")
    high: float = Field(10.0, description="Value of the upper quantile.")

    @property
    def needs_scores(self) -> bool:
        """True: the ends are those of the data."""
        return True

    def fit(self, scores: Scores) -> FittedScale:
        """Fit the two quantiles (see `Scale`), or the outer scores where the quantiles coincide."""
        find_ends(scores)  # for its error: a constant score fits nothing
        lower, upper = (float(value) for value in np.quantile(scores, [self.lower, self.upper]))
        if lower == upper:
            lower, upper = find_ends(scores)
        return FittedScale(kind=self.kind, knots=(lower, upper), values=(self.low, self.high))


class Percentile(Settings):
    """Percentile rank to 1-10 with one decimal: for scores without a scale of their own, such as implicit rewards.

    The paper does not publish its map from implicit reward to printed goal; this one is ours, and is stored.
    """

    kind: Literal["percentile"] = Field("percentile", description="The scale's name in recipes.")
    low: float = Field(1.0, description="Value of the lowest percentile.")
    high: float = Field(10.0, description="Value of the highest percentile.")
    decimals: int = Field(1, ge=0, le=6, description="Decimals of the mapped scores.")
    steps: int = Field(200, ge=2, description="Straight pieces of the stored map.")

    @property
    def needs_scores(self) -> bool:
        """True: the ends are those of the data."""
        return True

    def fit(self, scores: Scores) -> FittedScale:
        """Fit the ranks of the scores (see `Scale`).

        The knots are quantiles at equal steps. The value of a knot x is, with F(x) the mean rank of the scores equal to
        it, low + (high - low) (F(x) - F(x_min)) / (F(x_max) - F(x_min)): ties share the middle of their ranks, and the
        outer scores become the ends.
        """
        find_ends(scores)  # for its error: the denominator would be 0
        ordered = np.sort(scores)
        knots = np.unique(np.quantile(ordered, np.linspace(0, 1, self.steps + 1)))
        first, after = (np.searchsorted(ordered, knots, side=side) for side in ("left", "right"))
        mean_rank = (first + after - 1) / 2
        share = (mean_rank - mean_rank[0]) / (mean_rank[-1] - mean_rank[0])
        values = self.low + (self.high - self.low) * share
        return FittedScale(
            kind=self.kind, knots=tuple(knots.tolist()), values=tuple(values.tolist()), decimals=self.decimals
        )


SCALES: dict[str, type[Settings]] = {
    "declared": DeclaredRange,
    "min_max": MinMax,
    "quantile": Quantile,
    "percentile": Percentile,
}
"""Built-in scales by kind."""

AnyScale = Annotated[Scale, choice(SCALES)]


def find_ends(scores: Scores) -> tuple[float, float]:
    """Find the lowest and highest score.

    Raises:
        DataError: there are no two different scores.
    """
    if not len(scores) or scores.min() == scores.max():
        seen = "none" if not len(scores) else f"only the score {scores[0]:g}"
        raise DataError(
            f"fitting a scale needs two different scores, found {seen}",
            remedy="name the column of scores (columns.score), or declare the range: scale: {kind: declared, ...}",
        )
    return float(scores.min()), float(scores.max())
