"""Losses of reward models: rewards of whole texts against who won (Bradley-Terry) or against scores (regression)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, runtime_checkable

from pydantic import Field, model_validator

from prefboost.losses.terms import logistic
from prefboost.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["REWARD_LOSSES", "BradleyTerry", "RewardBatch", "Regression", "RewardLoss"]


@dataclass(frozen=True, kw_only=True)
class RewardBatch:
    """T texts as a reward model sees them, with their labels: P pairs, H scores per text.

    Args:
        rewards: [T, H], one column per head of the model.
        chosen: [P], index of the preferred text of each pair.
        rejected: [P], index of the other.
        gap: [P], score of chosen minus score of rejected; NaN where the data have none.
        wins: [P], probability that chosen is the better text; NaN counts as 1.
        weight: [P], factor of the pair's loss; NaN counts as 1.
        length_delta: [P], tokens of chosen minus tokens of rejected, in hundreds.
        excess_length: [T], tokens of a text minus the mean of its prompt's texts, in hundreds.
        labels: [T, H], scores; NaN where a text has none.
    """

    rewards: Tensor
    chosen: Tensor
    rejected: Tensor
    gap: Tensor
    wins: Tensor
    weight: Tensor
    length_delta: Tensor
    excess_length: Tensor
    labels: Tensor


@runtime_checkable
class RewardLoss(Protocol):
    """A loss of reward models: frozen settings that can be called."""

    @property
    def kind(self) -> str:
        """The loss's name in recipes."""

    @property
    def compares(self) -> bool:
        """Return whether it has one item per pair; otherwise it has one per text, and needs scores."""

    @property
    def needs_gap(self) -> bool:
        """Return whether the scores of both sides of a pair are required."""

    @property
    def heads(self) -> tuple[str, ...]:
        """Heads of the model: ``overall``, or names of aspects."""

    def __call__(self, batch: RewardBatch) -> Tensor:
        """Compute losses, one per item: [P] where it compares, else [T]; to be averaged over items."""


class BradleyTerry(Settings):
    """The likelihood of the preferences (Bradley and Terry 1952; arXiv 2203.02155, eq. 1): -log sigmoid(r_w - r_l)."""

    compares: ClassVar[bool] = True
    heads: ClassVar[tuple[str, ...]] = ("overall",)

    kind: Literal["bradley_terry"] = Field("bradley_terry", description="Likelihood of the preferences.")
    gap: Literal["ignore", "margin", "weight"] = Field(
        "ignore",
        description="Role of the gap of the scores: nothing; margin: subtracted from r_w - r_l (arXiv 2307.09288, "
        "section 3.2.2); weight: multiplies the loss (arXiv 2410.01257).",
    )
    gap_scale: float = Field(1.0, gt=0, description="The gap of the scores is multiplied by this first.")
    label_smoothing: float = Field(0.0, ge=0, lt=0.5, description="Assumed share of wrong labels.")
    soft_labels: bool = Field(
        True, description="Use chosen_wins, a judge's probability, where the data have it (arXiv 2309.00267)."
    )
    length_offset: float | Literal["fit"] = Field(
        0.0,
        description="Nats that a hundred tokens more are worth, fixed while rewards are trained, so that "
        "these need not learn length; fit: what length alone explains of the training labels, with their margins, "
        "weights, probabilities and smoothing.",
    )
    center_rewards_coefficient: float = Field(
        0.0, ge=0, description="Weight of (r_w + r_l)^2, which keeps rewards around 0 (arXiv 2312.09244)."
    )

    @property
    def needs_gap(self) -> bool:
        """Return whether scores are used."""
        return self.gap != "ignore"

    def __call__(self, batch: RewardBatch) -> Tensor:
        """Compute losses [P], nats; TRL's RewardTrainer has the mean of the same."""
        rewards = batch.rewards[:, 0]
        chosen, rejected = rewards[batch.chosen], rewards[batch.rejected]
        gap = self.gap_scale * batch.gap.to(rewards)
        offset = 0.0 if self.length_offset == "fit" else self.length_offset
        difference = chosen - rejected + offset * batch.length_delta.to(rewards)
        logit = difference - gap if self.gap == "margin" else difference
        losses = logistic(logit, self.label_smoothing)
        # The cross-entropy with the probabilities of the labels, where they have any.
        if self.soft_labels and bool(batch.wins.isfinite().any()):
            wins = batch.wins.to(logit).nan_to_num(1.0)
            losses = wins * losses + (1.0 - wins) * logistic(-logit, self.label_smoothing)
        losses = losses * gap if self.gap == "weight" else losses
        losses = losses * batch.weight.to(rewards).nan_to_num(1.0)
        if not self.center_rewards_coefficient:
            return losses
        return losses + self.center_rewards_coefficient * (chosen + rejected) ** 2


class Regression(Settings):
    """Squared distance of each head from its score; missing scores play no part (arXiv 2406.12845)."""

    compares: ClassVar[bool] = False
    needs_gap: ClassVar[bool] = False

    kind: Literal["regression"] = Field("regression", description="Squared distance from the scores.")
    aspects: tuple[str, ...] = Field(
        (),
        description="Aspects that get a head each, in this order; overall is the score itself. Empty: overall alone.",
    )
    length_offset: float | tuple[float, ...] | Literal["fit"] = Field(
        0.0,
        description="Points that a hundred tokens beyond the mean of the prompt's completions are worth, for all "
        "heads or each, fixed while rewards are trained, so that these need not learn length; fit: what "
        "length alone explains of the scores within prompts.",
    )

    @model_validator(mode="after")
    def _check_one_per_head(self) -> Regression:
        if isinstance(self.length_offset, tuple) and len(self.length_offset) != len(self.heads):
            raise ValueError(
                f"length_offset has {len(self.length_offset)} numbers and the model {len(self.heads)} heads; give one "
                f"per head ({', '.join(self.heads)})"
            )
        return self

    @property
    def heads(self) -> tuple[str, ...]:
        """One head per aspect."""
        return self.aspects or ("overall",)

    def __call__(self, batch: RewardBatch) -> Tensor:
        """Compute losses [T]: the mean over a text's scores; 0 for a text without any."""
        is_rated = batch.labels.isfinite()
        targets = batch.labels.nan_to_num(0.0).to(batch.rewards)
        offsets = self.length_offset if isinstance(self.length_offset, tuple) else (self.length_offset,)
        if any(number not in (0.0, "fit") for number in offsets):
            targets = targets - batch.excess_length.to(targets)[:, None] * targets.new_tensor(offsets)
        # Missing labels are masked before the square: NaN times 0 would still be NaN in the gradient.
        squares = (batch.rewards - targets).where(is_rated, 0.0) ** 2
        return squares.sum(1) / is_rated.sum(1).clamp(min=1)


REWARD_LOSSES: dict[str, type[Settings]] = {"bradley_terry": BradleyTerry, "regression": Regression}
"""Built-in losses of reward models, kind -> settings."""
