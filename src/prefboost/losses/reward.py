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
    """T texts as a reward model sees them, and what the data say of them: P pairs, H scores a text.

    Args:
        rewards: [T, H], one column a head of the model.
        chosen: [P], which text is the preferred one of each pair.
        rejected: [P], which is the other.
        gap: [P], score of chosen minus score of rejected; NaN where the data have none.
        wins: [P], probability that chosen is the better one; NaN: it is for certain.
        weight: [P], how much the pair counts; NaN: as much as any.
        longer: [P], tokens of chosen minus tokens of rejected, in hundreds.
        beyond: [T], tokens of a text beyond the mean of its prompt's texts, in hundreds.
        labels: [T, H], scores; NaN where a text is not rated.
    """

    rewards: Tensor
    chosen: Tensor
    rejected: Tensor
    gap: Tensor
    wins: Tensor
    weight: Tensor
    longer: Tensor
    beyond: Tensor
    labels: Tensor


@runtime_checkable
class RewardLoss(Protocol):
    """A loss of reward models: frozen settings that can be called."""

    @property
    def kind(self) -> str:
        """Its name in recipes."""

    @property
    def compares(self) -> bool:
        """Whether it has one item a pair; otherwise it has one a text, and needs scores."""

    @property
    def needs_gap(self) -> bool:
        """Whether the scores of both sides of a pair must be known."""

    @property
    def heads(self) -> tuple[str, ...]:
        """The heads that the model gets: ``overall``, or names of aspects."""

    def __call__(self, batch: RewardBatch) -> Tensor:
        """Losses, one an item: [P] where it compares, else [T]; to be averaged over items."""


class BradleyTerry(Settings):
    """The likelihood of the preferences (Bradley and Terry 1952; arXiv 2203.02155, eq. 1): -log sigmoid(r_w - r_l)."""

    compares: ClassVar[bool] = True
    heads: ClassVar[tuple[str, ...]] = ("overall",)

    kind: Literal["bradley_terry"] = Field("bradley_terry", description="Likelihood of the preferences.")
    gap: Literal["ignore", "margin", "weight"] = Field(
        "ignore",
        description="What the gap of the scores does: nothing; margin: subtracted from r_w - r_l (arXiv 2307.09288, "
        "section 3.2.2); weight: multiplies the loss (arXiv 2410.01257).",
    )
    gap_scale: float = Field(1.0, gt=0, description="The gap of the scores is multiplied by this first.")
    label_smoothing: float = Field(0.0, ge=0, lt=0.5, description="Assumed share of wrong labels.")
    soft_labels: bool = Field(
        True, description="Use chosen_wins, a judge's probability, where the data have it (arXiv 2309.00267)."
    )
    length_offset: float | Literal["fit"] = Field(
        0.0,
        description="What a hundred tokens more are worth in nats, taken as given while rewards are trained, so that "
        "these need not learn length; fit: what length alone explains of the training labels, with their margins, "
        "weights, probabilities and smoothing.",
    )
    center_rewards_coefficient: float = Field(
        0.0, ge=0, description="Weight of (r_w + r_l)^2, which keeps rewards around 0 (arXiv 2312.09244)."
    )

    @property
    def needs_gap(self) -> bool:
        """Whether scores are used."""
        return self.gap != "ignore"

    def __call__(self, batch: RewardBatch) -> Tensor:
        """Losses [P], nats; TRL's RewardTrainer has the mean of the same."""
        rewards = batch.rewards[:, 0]
        chosen, rejected = rewards[batch.chosen], rewards[batch.rejected]
        gap = self.gap_scale * batch.gap.to(rewards)
        offset = 0.0 if self.length_offset == "fit" else self.length_offset
        difference = chosen - rejected + offset * batch.longer.to(rewards)
        losses = self._likelihood(difference - gap if self.gap == "margin" else difference, batch)
        losses = losses * gap if self.gap == "weight" else losses
        losses = losses * batch.weight.to(rewards).nan_to_num(1.0)
        if not self.center_rewards_coefficient:
            return losses
        return losses + self.center_rewards_coefficient * (chosen + rejected) ** 2

    def _likelihood(self, logit: Tensor, batch: RewardBatch) -> Tensor:
        """Cross-entropy with the probabilities of the labels, where they have any."""
        right = logistic(logit, self.label_smoothing)
        if not self.soft_labels or not bool(batch.wins.isfinite().any()):
            return right
        wins = batch.wins.to(logit).nan_to_num(1.0)
        return wins * right + (1.0 - wins) * logistic(-logit, self.label_smoothing)


class Regression(Settings):
    """The squared distance of each head from the score it stands for; absent scores play no part (arXiv 2406.12845)."""

    compares: ClassVar[bool] = False
    needs_gap: ClassVar[bool] = False

    kind: Literal["regression"] = Field("regression", description="Squared distance from the scores.")
    aspects: tuple[str, ...] = Field(
        (), description="Aspects that get a head each, in this order; overall is the score itself. None: overall alone."
    )
    length_offset: float | tuple[float, ...] | Literal["fit"] = Field(
        0.0,
        description="What a hundred tokens beyond the mean of the prompt's completions are worth in points, for all "
        "heads or each, taken as given while rewards are trained, so that these need not learn length; fit: what "
        "length alone explains of the scores within prompts.",
    )

    @model_validator(mode="after")
    def _one_a_head(self) -> Regression:
        if isinstance(self.length_offset, tuple) and len(self.length_offset) != len(self.heads):
            raise ValueError(
                f"length_offset has {len(self.length_offset)} numbers and the model {len(self.heads)} heads; give one "
                f"a head ({', '.join(self.heads)})"
            )
        return self

    @property
    def heads(self) -> tuple[str, ...]:
        """One head an aspect."""
        return self.aspects or ("overall",)

    def __call__(self, batch: RewardBatch) -> Tensor:
        """Losses [T]: the mean over a text's known scores; 0 for a text without any."""
        known = batch.labels.isfinite()
        wanted = batch.labels.nan_to_num(0.0).to(batch.rewards)
        given = self.length_offset if isinstance(self.length_offset, tuple) else (self.length_offset,)
        if any(number not in (0.0, "fit") for number in given):
            wanted = wanted - batch.beyond.to(wanted)[:, None] * wanted.new_tensor(given)
        squares = (batch.rewards - wanted).where(known, 0.0) ** 2
        return squares.sum(1) / known.sum(1).clamp(min=1)


REWARD_LOSSES: dict[str, type[Settings]] = {"bradley_terry": BradleyTerry, "regression": Regression}
"""Built-in losses of reward models, kind -> settings."""
