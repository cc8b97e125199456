"""UltraFeedback as published (openbmb/UltraFeedback, arXiv 2310.01377), cleaned as arXiv 2410.08067 does it."""

from __future__ import annotations

from typing import Literal

import polars as pl
from pydantic import Field

from prefboost.sources.collection import Collection
from prefboost.sources.layouts.layout import Layout
from prefboost.sources.rows.scores import LOW_MEAN
from prefboost.tables import aspects_of

__all__ = ["UltraFeedback"]

OVERALL, ASPECTS = (1.0, 10.0), (1.0, 5.0)
"""Ranges of the overall score and of the aspects, which the annotators were told (arXiv 2310.01377, appendix)."""


class UltraFeedback(Collection):
    """Four completions per prompt, each with an overall score 1-10 and four aspects 1-5.

    Works on the hub data set, a copy of it, and its binarized variants. Prompts of other benchmarks are dropped by
    `prefboost.select`; here only whole sources are.
    """

    kind: Literal["ultrafeedback"] = Field("ultrafeedback", description="openbmb/UltraFeedback and its variants.")
    path: str = Field("openbmb/UltraFeedback", description="Hub id, file or folder.")
    revision: str | None = Field(
        "40b436560ca83a8dba36114c22ab3c66e43f6d5e", description="Commit on the hub that the published recipe reads."
    )
    drop_sources: tuple[str, ...] = Field(
        ("truthful_qa",), description="Sources left out, since they are used for evaluation (arXiv 2410.08067)."
    )
    drop_unrated: bool = Field(
        True, description="Leave completions out that lack the rating of an aspect (arXiv 2410.08067, released code)."
    )
    fix_overall: Literal["keep", "drop", "one"] = Field(
        "drop",
        description="Overall 10 beside aspects of 2 or less on average: keep, drop, or take for the 1 it was.",
    )

    def find_makers_range(self, layout: Layout) -> tuple[float, float] | None:
        """Return 1 to 10 for overall scores; 1 to 5 for aspects, their mean, and the ratings of binarized variants."""
        rated = any("rating" in layout.parts.get(part, "").lower() for part in ("score", "score_chosen"))
        return OVERALL if self.score == "overall" and not rated else ASPECTS

    def repair(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Replace overall scores of 10 that should be 1, if ``fix_overall`` asks for it."""
        if self.fix_overall != "one":
            return rows
        return rows.with_columns(score=pl.when(_contradicts_aspects(rows)).then(1.0).otherwise("score"))

    def doubts(self, rows: pl.DataFrame) -> pl.Series:
        """Reject rows of dropped sources, rows not fully rated, and scores that contradict the aspects."""
        aspects = [f"score.{aspect}" for aspect in aspects_of(rows.columns, "score")]
        conditions: list[tuple[bool, pl.Expr, str]] = [
            (
                "source" in rows.columns,
                pl.col("source").is_in(self.drop_sources),
                "the source is left out (drop_sources)",
            ),
            (
                self.drop_unrated and bool(aspects),
                pl.any_horizontal(pl.col(aspects).is_null()),
                "the completion is not rated in every aspect (drop_unrated)",
            ),
            (
                self.fix_overall == "drop",
                _contradicts_aspects(rows),
                "the overall score of 10 contradicts the aspects (fix_overall)",
            ),
        ]
        reasons = [pl.when(doubt).then(pl.lit(reason)) for applies, doubt, reason in conditions if applies]
        return rows.select(pl.coalesce(pl.lit(None, dtype=pl.String), *reasons).alias("doubt")).to_series()


def _contradicts_aspects(rows: pl.DataFrame) -> pl.Expr:
    aspects = [f"score.{aspect}" for aspect in aspects_of(rows.columns, "score")]
    if not aspects or "score" not in rows.columns:
        return pl.lit(False)
    return (pl.col("score") == 10) & (pl.mean_horizontal(aspects) <= LOW_MEAN)
