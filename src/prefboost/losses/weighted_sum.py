"""Several losses at once, each with its weight."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from prefboost.losses.interface import Loss, LossOutput, PairLogps
from prefboost.losses.kinds import SINGLE_LOSSES
from prefboost.settings import Settings, choice

__all__ = ["Term", "WeightedSum"]


class Term(Settings):
    """One loss of a sum and its weight."""

    loss: Annotated[Loss, choice(SINGLE_LOSSES)] = Field(..., description="The loss: its kind, or a mapping with it.")
    weight: float = Field(1.0, description="Factor of the loss (MPO, arXiv 2411.10442).")


class WeightedSum(Settings):
    """A weighted sum of losses (as MPO, arXiv 2411.10442), such as dpo + 0.2 sft.

    The implicit rewards are those of the first term.
    """

    kind: Literal["sum"] = Field("sum", description="A weighted sum of losses (MPO, arXiv 2411.10442).")
    terms: tuple[Term, ...] = Field(..., min_length=1, description="The losses and their weights; the first's rewards.")

    @property
    def needs_reference(self) -> bool:
        """Return whether any term needs it."""
        return any(term.loss.needs_reference for term in self.terms)

    @property
    def needs_scores(self) -> bool:
        """Return whether any term needs them."""
        return any(term.loss.needs_scores for term in self.terms)

    @property
    def whole_batch(self) -> bool:
        """Return whether any term depends on the whole batch."""
        return any(term.loss.whole_batch for term in self.terms)

    def __call__(self, batch: PairLogps) -> LossOutput:
        """Compute losses [B]: the terms' losses times their weights, added."""
        # Rewards are logged, not trained on, so that those of the first term serve for all.
        first, *others = [(term.weight, term.loss(batch)) for term in self.terms]
        losses = first[0] * first[1].losses
        for weight, output in others:
            losses = losses + weight * output.losses
        return LossOutput(losses=losses, reward_chosen=first[1].reward_chosen, reward_rejected=first[1].reward_rejected)
