"""Strategies of `select` that keep completions by their scores: best of n, a threshold, rejection sampling.

What is kept are ScoredCompletions: fine-tune on them as they are, or `pair` them.
"""

from __future__ import annotations

from typing import Literal, Protocol, runtime_checkable

import numpy as np
import polars as pl
from pydantic import Field

from prefboost.preferences.draw import draw_rank, draw_share
from prefboost.preferences.score_hint import refuse_unscored_completions
from prefboost.settings import Settings, dump_with_kind
from prefboost.tables import SCORED_COMPLETIONS, Table, refuse_other_tables

__all__ = [
    "SELECT_STRATEGIES",
    "UNSCORED",
    "BestOfN",
    "RejectionSampling",
    "ScoreAtLeast",
    "SelectStrategy",
    "select_by_score",
]

UNSCORED = "the completion has no score"


@runtime_checkable
class SelectStrategy(Protocol):
    """A rule that picks completions of each prompt by their scores."""

    def pick(self, scored: pl.DataFrame) -> pl.Series:
        """Pick the row numbers that stay.

        Args:
            scored: one row per completion that has a score: ``at`` (row number, unique), ``prompt_id``,
                ``completion_id``, ``score``.

        Returns:
            values of ``at``.
        """


class BestOfN(Settings):
    """The completions of the highest scores of every prompt (best-of-n sampling)."""

    kind: Literal["best_of_n"] = Field("best_of_n", description="The strategy's name in recipes.")
    count: int = Field(1, ge=1, description="Number of completions to keep per prompt; ties go by completion_id.")
    at_least: float | None = Field(None, description="Only those with this score or more, in score units.")

    def pick(self, scored: pl.DataFrame) -> pl.Series:
        """Pick the first ``count`` completions of each prompt, best first (see `SelectStrategy`)."""
        good = scored if self.at_least is None else scored.filter(pl.col("score") >= self.at_least)
        order = good.sort("prompt_id", "score", "completion_id", descending=[False, True, False])
        return order.group_by("prompt_id", maintain_order=True).head(self.count)["at"]


class ScoreAtLeast(Settings):
    """Every completion whose score reaches a threshold (rejection sampling fine-tuning)."""

    kind: Literal["score_at_least"] = Field("score_at_least", description="The strategy's name in recipes.")
    score: float = Field(description="Lowest score that is kept, in score units.")

    def pick(self, scored: pl.DataFrame) -> pl.Series:
        """Pick the scores at or above the threshold (see `SelectStrategy`)."""
        return scored.filter(pl.col("score") >= self.score)["at"]


class RejectionSampling(Settings):
    """Statistical rejection sampling: completions as if drawn from the policy that is best for their scores.

    A completion is kept with probability exp((r - r_max) / beta), r_max being the highest score of the prompt's
    completions that are still there (arXiv 2309.06657, algorithm 1): small beta approaches best of n, large beta
    keeps completions whatever their score.
    """

    kind: Literal["rejection_sampling"] = Field("rejection_sampling", description="The strategy's name in recipes.")
    beta: float = Field(0.5, gt=0, description="In score units; the paper's temperature of the optimal policy.")
    count: int | None = Field(
        None,
        ge=1,
        description="Completions kept of a prompt, in as many rounds as that takes; none: whatever one round keeps.",
    )
    seed: int = Field(42, ge=0, description="Seed of the draws, which depend on nothing but it and the ids.")

    def pick(self, scored: pl.DataFrame) -> pl.Series:
        """Draw completions round by round (see `SelectStrategy`), in a seeded order, so that ``count`` favours none."""
        left = scored.with_columns(_order=draw_rank(self.seed, "prompt_id", "completion_id")).sort("_order", "at")
        rounds, picked = 0, scored.clear().select("at", "prompt_id")
        while left.height and (rounds == 0 or self.count is not None):
            threshold = ((pl.col("score") - pl.col("score").max().over("prompt_id")) / self.beta).exp()
            drawn = draw_share(self.seed + 1 + rounds, "prompt_id", "completion_id")
            # The best is kept even where the draw is 1, so that every round takes at least one completion of a prompt.
            won = (drawn < threshold) | (threshold >= 1)
            marked = left.with_columns(_won=won)
            picked = pl.concat([picked, marked.filter("_won").select("at", "prompt_id")])
            if self.count is not None:
                picked = picked.group_by("prompt_id", maintain_order=True).head(self.count).select("at", "prompt_id")
            full = picked.group_by("prompt_id").len().filter(pl.col("len") >= (self.count or 1))
            left = marked.filter(~pl.col("_won")).drop("_won").join(full, on="prompt_id", how="anti")
            rounds += 1
        return picked["at"]


SELECT_STRATEGIES: dict[str, type[Settings]] = {
    "best_of_n": BestOfN,
    "score_at_least": ScoreAtLeast,
    "rejection_sampling": RejectionSampling,
}
"""Built-in strategies by kind."""


def select_by_score(table: Table, strategy: SelectStrategy, *, is_part: bool = False) -> Table:
    """Keep completions by their scores.

    Args:
        table: ScoredCompletions.
        strategy: which.
        is_part: the table is a part of one, of which no completion needs to have a score.

    Returns:
        ScoredCompletions in their order; the others, and completions without a score, are counted rejects.

    Raises:
        DataError: the table is of another kind.
        MissingScores: no completion has a score.
    """
    remedy = "score the completions first, and pair them afterwards"
    refuse_other_tables(table, SCORED_COMPLETIONS, task="selection by score", remedy=remedy)
    if not is_part:
        refuse_unscored_completions(table, "selected by it")
    scored = table.read_columns(["prompt_id", "completion_id", "score"]).with_row_index("at")
    codes = np.where(scored["score"].is_null(), 1, 2).astype(np.uint8)
    picked = strategy.pick(scored.filter(pl.col("score").is_not_null()))
    codes[picked.to_numpy()] = 0
    reasons = [UNSCORED, "the completion was not selected by its score"]
    chosen, rejects = table.split_coded(pl.Series(codes), reasons, stage="select", value=pl.col("score"))
    prompts = scored["prompt_id"]
    counts = {"prompts in": prompts.n_unique(), "prompts out": prompts.filter(pl.Series(codes == 0)).n_unique()}
    step = table.build_step("select", dump_with_kind(strategy), chosen, rejects, counts)
    return table.derive(SCORED_COMPLETIONS, chosen, step, rejects=rejects)
