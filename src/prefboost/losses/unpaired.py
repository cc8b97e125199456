"""Losses that hold each completion against a fixed point, not against its partner: KTO, NCA, BCO, APO."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, field_validator

from prefboost.losses.interface import LossOutput, PairLogps, PairLoss
from prefboost.losses.terms import attach_ratio_rewards, log_sigmoid, logistic

__all__ = ["APODown", "APOZero", "BCOPair", "KTOPair", "NCAPair"]


class KTOPair(PairLoss):
    """Kahneman-Tversky optimisation on pairs (arXiv 2402.01306, eq. 7): the mean of the two completions' losses.

    Each half's point of reference is the other half's mean log-ratio over the batch, cut at 0 and without gradient,
    since completions of other pairs are what the paper estimates it from.
    """

    whole_batch: ClassVar[bool] = True

    kind: Literal["kto_pair"] = Field("kto_pair", description="Kahneman-Tversky optimisation (arXiv 2402.01306).")
    beta: float = Field(0.1, gt=0, description="Strength of risk aversion (arXiv 2402.01306, section 4).")
    weight_chosen: float = Field(1.0, ge=0, description="lambda_D: weight of chosen completions (arXiv 2402.01306).")
    weight_rejected: float = Field(
        1.0, ge=0, description="lambda_U: weight of rejected completions (arXiv 2402.01306)."
    )

    def __call__(self, batch: PairLogps) -> LossOutput:
        """Compute losses [B], in 0..(weight_chosen + weight_rejected)/2."""
        chosen, rejected = batch.ratio_chosen, batch.ratio_rejected
        # The reference point of each half is an estimate, as in the paper: no gradient flows through it.
        kl_chosen, kl_rejected = (ratio.detach().mean().clamp(min=0) for ratio in (chosen, rejected))
        loss_chosen = (self.beta * (kl_rejected - chosen)).sigmoid()
        loss_rejected = (self.beta * (rejected - kl_chosen)).sigmoid()
        losses = (self.weight_chosen * loss_chosen + self.weight_rejected * loss_rejected) / 2
        return attach_ratio_rewards(losses, batch, self.beta)


class NCAPair(PairLoss):
    """Noise contrastive alignment with two completions (arXiv 2402.05369).

    -log sigmoid(r_w) - 1/2 log sigmoid(-r_w) - 1/2 log sigmoid(-r_l), r = beta log-ratio.
    """

    kind: Literal["nca_pair"] = Field("nca_pair", description="Noise contrastive alignment (arXiv 2402.05369).")
    beta: float = Field(0.01, gt=0, description="Strength of the tie to the reference (arXiv 2402.05369).")

    def __call__(self, batch: PairLogps) -> LossOutput:
        """Compute losses [B], nats, >= 0."""
        chosen, rejected = self.beta * batch.ratio_chosen, self.beta * batch.ratio_rejected
        losses = logistic(chosen) - 0.5 * (log_sigmoid(-chosen) + log_sigmoid(-rejected))
        return attach_ratio_rewards(losses, batch, self.beta)


class BCOPair(PairLoss):
    """Binary classifier optimisation on pairs (arXiv 2404.04656): -log sigmoid(r_w - d) - log sigmoid(-(r_l - d)).

    r = beta log-ratio; d is the paper's reward shift: 0 as in TRL 1.16, or the mean reward of this batch's completions.
    """

    kind: Literal["bco_pair"] = Field("bco_pair", description="Binary classifier optimisation (arXiv 2404.04656).")
    beta: float = Field(0.01, gt=0, description="Strength of the tie to the reference (arXiv 2404.04656).")
    reward_shift: Literal["none", "batch"] = Field(
        "none", description="d: none (as TRL 1.16), or batch, the batch's mean reward without gradient."
    )

    @field_validator("reward_shift", mode="before")
    @classmethod
    def _refuse_running(cls, value: object) -> object:
        if value == "running":
            raise ValueError(
                "a running mean makes the loss depend on the order of batches, and is lost on resume; "
                "use batch with a large batch, or none"
            )
        return value

    @property
    def whole_batch(self) -> bool:
        """Return whether the shift is the batch's mean."""
        return self.reward_shift == "batch"

    def __call__(self, batch: PairLogps) -> LossOutput:
        """Compute losses [B], nats, >= 0."""
        chosen, rejected = self.beta * batch.ratio_chosen, self.beta * batch.ratio_rejected
        shift = (chosen + rejected).detach().mean() / 2 if self.reward_shift == "batch" else 0.0
        return attach_ratio_rewards(logistic(chosen - shift) + logistic(shift - rejected), batch, self.beta)


class APOZero(PairLoss):
    """Anchored preference optimisation, zero (arXiv 2408.06266, eq. 7): for chosen better than the policy's own.

    sigmoid(-beta a) + sigmoid(beta b) with the log-ratios a of chosen and b of rejected.
    """

    kind: Literal["apo_zero"] = Field("apo_zero", description="APO-zero: chosen up, rejected down (arXiv 2408.06266).")
    beta: float = Field(0.1, gt=0, description="Strength of the tie to the reference (arXiv 2408.06266).")

    def __call__(self, batch: PairLogps) -> LossOutput:
        """Compute losses [B], in 0..2."""
        losses = (-self.beta * batch.ratio_chosen).sigmoid() + (self.beta * batch.ratio_rejected).sigmoid()
        return attach_ratio_rewards(losses, batch, self.beta)


class APODown(PairLoss):
    """Anchored preference optimisation, down (arXiv 2408.06266, eq. 8): for chosen worse than the policy's own.

    sigmoid(beta a) + sigmoid(-beta (a - b)) with the log-ratios a of chosen and b of rejected.
    """

    kind: Literal["apo_down"] = Field("apo_down", description="APO-down: both down, rejected more (arXiv 2408.06266).")
    beta: float = Field(0.1, gt=0, description="Strength of the tie to the reference (arXiv 2408.06266).")

    def __call__(self, batch: PairLogps) -> LossOutput:
        """Compute losses [B], in 0..2."""
        losses = (self.beta * batch.ratio_chosen).sigmoid() + (-self.beta * batch.delta).sigmoid()
        return attach_ratio_rewards(losses, batch, self.beta)
