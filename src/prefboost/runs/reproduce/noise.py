"""A judge that errs: scores of a trusted scorer with noise, for training; the verdict sees the scores themselves."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated, Any, Literal

import polars as pl
from pydantic import Field

from prefboost.engines.call_session import CallSession
from prefboost.preferences.draw import draw_share
from prefboost.preferences.scales.fit import find_declared_range, find_score_columns
from prefboost.runs.score.score import score_by
from prefboost.scoring.scorer import SCORERS, RangedScorer, Scorer
from prefboost.settings import Settings, choice
from prefboost.tables import SCORED_COMPLETIONS, Step, Table, refuse_other_tables

__all__ = ["NoisyScorer", "ScoreNoise", "add_noise"]

_LEAST = 2.0**-64
"""Least uniform draw: the logarithm of 0 is no number."""


class ScoreNoise(Settings):
    """Errors of a judge: normal, the same for the same completion of a prompt, whoever asks and when."""

    deviation: float = Field(gt=0, description="Standard deviation of the error, in points of the score.")
    ends: tuple[float, float] | None = Field(
        None,
        description="Lowest and highest score that the judge gives; none: the declared ones of the scores, or else the "
        "lowest and highest true score.",
    )
    seed: int = Field(0, ge=0, description="Another seed draws other errors.")


class NoisyScorer(Settings):
    """Scores as another scorer does, with noise."""

    kind: Literal["prefboost.runs.reproduce.noise:NoisyScorer"] = Field(
        "prefboost.runs.reproduce.noise:NoisyScorer", description="Another scorer's scores, with noise."
    )
    scorer: Annotated[Scorer, choice(SCORERS)] = Field(description="Gives the true scores.")
    noise: ScoreNoise = Field(description="Errors that are added to them.")

    @property
    def scale(self) -> Any:
        """Scale that the other scorer fits to its scores, which rounds refuse."""
        return getattr(self.scorer, "scale", None)

    def find_range(self) -> tuple[float, float] | None:
        """See `prefboost.scoring.scorer.RangedScorer`."""
        declared = self.scorer.find_range() if isinstance(self.scorer, RangedScorer) else None
        return self.noise.ends or declared

    def score(self, table: Table) -> Table:
        """See `prefboost.scoring.scorer.Scorer`."""
        return self._add(self.scorer.score(table))

    def score_stored(self, table: Table, session: CallSession) -> Table:
        """See `prefboost.scoring.scorer.StoredScorer`: the true scores are what is kept."""
        return self._add(score_by(table, self.scorer, session))

    def _add(self, scored: Table) -> Table:
        return add_noise(scored, self.noise, self.find_range())


def add_noise(table: Table, noise: ScoreNoise, declared: tuple[float, float] | None = None) -> Table:
    """Add noise to the overall score, and to every aspect's an error of its own; both stay between the ends.

    Args:
        table: ScoredCompletions; unknown scores stay unknown.
        noise: deviation, ends, seed.
        declared: the ends where ``noise`` names none.

    Raises:
        DataError: the table holds something else.
    """
    # The label of a pair was chosen by the true scores: noise beside it would be noise that half of the rows show.
    remedy = "give the completions with their scores, of which the noisy scores make the pairs"
    refuse_other_tables(table, SCORED_COMPLETIONS, task="a noisy judge", remedy=remedy)
    fitted = table.scales.get("")
    scale = None if fitted is None else (fitted.knots[0], fitted.knots[-1])
    ends = noise.ends or declared or find_declared_range(table) or scale
    text = pl.col("completion").list.eval(pl.element().struct.field("content")).list.join("\n")
    frame = table.frame
    for name in find_score_columns(table):
        draws = frame.select("prompt_id", text=text, column=pl.lit(name))
        # Box and Muller: two uniform numbers make a normal one. They are hashes, so that an error belongs to its text.
        radius, angle = (
            draws.select(draw_share(2 * noise.seed + part, *draws.columns)).to_series() for part in range(2)
        )
        error = (-2 * radius.clip(_LEAST).log()).sqrt() * (2 * math.pi * angle).cos()
        lowest, highest = pl.col(name).min(), pl.col(name).max()
        if name == "score" and ends is not None:
            lowest, highest = map(pl.lit, ends)
        frame = frame.with_columns((pl.col(name) + noise.deviation * error).clip(lowest, highest))
    step = Step("noise", noise.model_dump(mode="json"), len(table), len(table))
    return replace(table, frame=frame, steps=(*table.steps, step))
