"""Direct preference optimisation and its logistic kin: DPO (with conservative labels), robust DPO, hinge, DiscoPOP."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from prefboost.losses.interface import LossOutput, PairLogps, PairLoss
from prefboost.losses.terms import attach_ratio_rewards, log_sigmoid, logistic

__all__ = ["DPO", "DiscoPOP", "Hinge", "RobustDPO"]


class DPO(PairLoss):
    """Direct preference optimisation (arXiv 2305.18290, eq. 7): -(1-e) log sigmoid(beta D) - e log sigmoid(-beta D).

    D is the difference of the two log-ratios; e is the conservative label smoothing of cDPO (Mitchell 2023,
    A note on DPO with noisy preferences).
    """

    kind: Literal["dpo"] = Field("dpo", description="Direct preference optimisation (arXiv 2305.18290).")
    beta: float = Field(
        0.1,
        gt=0,
        description="Strength of the tie to the reference; 0.1 as in arXiv 2305.18290, 0.01 in arXiv 2410.08067.",
    )
    label_smoothing: float = Field(
        0.0,
        ge=0,
        lt=0.5,
        description="Assumed share of wrong labels (cDPO); arXiv 2410.08067 uses 0.3 for Qwen2-7B and Gemma-2-9B.",
    )
    normalise: bool = Field(
        False, description="Divide each log-ratio by its completion's tokens (length-normalised DPO, arXiv 2411.15124)."
    )

    def __call__(self, batch: PairLogps) -> LossOutput:
        """Compute losses [B], nats."""
        delta = batch.average_delta if self.normalise else batch.delta
        return attach_ratio_rewards(logistic(self.beta * delta, self.label_smoothing), batch, self.beta)


class RobustDPO(PairLoss):
    """Robust DPO (arXiv 2403.00409, section 3): an estimate of DPO's loss that flipped labels leave unbiased.

    (-(1-e) log sigmoid(beta D) + e log sigmoid(-beta D)) / (1 - 2e); falls without bound as D grows where e > 0.
    """

    kind: Literal["robust"] = Field("robust", description="Robust DPO (arXiv 2403.00409).")
    beta: float = Field(0.1, gt=0, description="Strength of the tie to the reference (arXiv 2403.00409).")
    label_smoothing: float = Field(0.1, ge=0, lt=0.5, description="Assumed rate of flipped labels (arXiv 2403.00409).")

    def __call__(self, batch: PairLogps) -> LossOutput:
        """Compute losses [B], nats; may be negative."""
        logit, flip = self.beta * batch.delta, self.label_smoothing
        losses = (flip * log_sigmoid(-logit) - (1 - flip) * log_sigmoid(logit)) / (1 - 2 * flip)
        return attach_ratio_rewards(losses, batch, self.beta)


class Hinge(PairLoss):
    """The hinge of SLiC on DPO's reward difference (arXiv 2305.10425; with a reference as in arXiv 2309.06657).

    max(0, 1 - beta D).
    """

    kind: Literal["hinge"] = Field("hinge", description="SLiC's hinge on DPO's reward difference (arXiv 2309.06657).")
    beta: float = Field(0.1, gt=0, description="Reciprocal of the margin in nats (gamma of arXiv 2309.06657).")

    def __call__(self, batch: PairLogps) -> LossOutput:
        """Compute losses [B], >= 0."""
        return attach_ratio_rewards((1 - self.beta * batch.delta).relu(), batch, self.beta)


class DiscoPOP(PairLoss):
    """DiscoPOP, the log-ratio modulated loss (arXiv 2406.08414, eq. 5): a blend of logistic and exponential loss.

    (1 - m) (-log sigmoid(x)) + m exp(-x) with x = beta D and m = sigmoid(x / tau). Not monotone: it dips left of x = 0.
    """

    kind: Literal["discopop"] = Field("discopop", description="Discovered preference optimisation (arXiv 2406.08414).")
    beta: float = Field(0.05, gt=0, description="Strength of the tie to the reference (arXiv 2406.08414).")
    tau: float = Field(0.05, gt=0, lt=1, description="Temperature of the blend (arXiv 2406.08414, eq. 5).")

    def __call__(self, batch: PairLogps) -> LossOutput:
        """Compute losses [B], >= 0."""
        logit = self.beta * batch.delta
        # exp(-x) sigmoid(x / tau) as one exponential: the factors alone are infinity times zero for very negative x.
        exponential = (log_sigmoid(logit / self.tau) - logit).exp()
        losses = logistic(logit) * (-logit / self.tau).sigmoid() + exponential
        return attach_ratio_rewards(losses, batch, self.beta)
