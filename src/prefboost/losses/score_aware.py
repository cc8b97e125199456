"""Losses that use how far two scores lie apart: reward-aware preference optimisation and DPO with an offset."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from prefboost.errors import DataError, Place
from prefboost.losses.interface import LossOutput, PairLogps, PairLoss
from prefboost.losses.terms import attach_ratio_rewards, bernoulli_kl, logistic

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

__all__ = ["RPO", "MarginDPO"]

Gap = Literal["score", "distance"]

_GAP = "score: s_w - s_l (methods as published); distance: how much nearer chosen is to the goal (for goal pairs)."
_GAPS: dict[Gap, Callable[[PairLogps], Tensor]] = {
    "score": lambda batch: batch.score_gap,
    "distance": lambda batch: batch.distance_gap,
}

_DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "squared": lambda policy, target: (policy - target) ** 2,
    "forward_kl": bernoulli_kl,
    "backward_kl": lambda policy, target: bernoulli_kl(target, policy),
}


class RPO(PairLoss):
    """Reward-aware preference optimisation (arXiv 2406.11704, section 3.3.2; arXiv 2502.00203): distance of x from t.

    x = beta D is the policy's reward difference, t = eta (s_w - s_l) the scores'. With p = sigmoid(x), q = sigmoid(t):
    squared is (x - t)^2, forward_kl is KL(p || q), backward_kl is KL(q || p) (names as in NeMo's ``rpo_fwd_kl`` and
    ``rpo_bwd_kl``; arXiv 2406.11704 trains with the latter).
    """

    needs_scores: ClassVar[bool] = True

    kind: Literal["rpo"] = Field("rpo", description="Reward-aware preference optimisation (arXiv 2406.11704).")
    beta: float = Field(0.1, gt=0, description="Scale of the policy's log-ratios (arXiv 2406.11704).")
    eta: float = Field(1.0, gt=0, description="Scale of the scores: rewards per unit of score (arXiv 2406.11704).")
    distance: Literal["squared", "forward_kl", "backward_kl"] = Field(
        "backward_kl", description="Comparison of x with t: squared, forward_kl KL(p||q) or backward_kl KL(q||p)."
    )
    gap: Gap = Field("score", description=_GAP)

    def __call__(self, batch: PairLogps) -> LossOutput:
        """Compute losses [B], >= 0; NaN where a score is missing."""
        losses = _DISTANCES[self.distance](self.beta * batch.delta, self.eta * _GAPS[self.gap](batch))
        return attach_ratio_rewards(losses, batch, self.beta)


class MarginDPO(PairLoss):
    """DPO with an offset, ODPO (arXiv 2402.10571, section 3): -log sigmoid(beta D - alpha f(s_w - s_l)).

    f is the logarithm or the identity.
    """

    needs_scores: ClassVar[bool] = True

    kind: Literal["margin_dpo"] = Field("margin_dpo", description="DPO with an offset, ODPO (arXiv 2402.10571).")
    beta: float = Field(0.1, gt=0, description="Strength of the tie to the reference (arXiv 2402.10571).")
    alpha: float = Field(1.0, ge=0, description="Weight of the offset; 0 is DPO (arXiv 2402.10571).")
    margin: Literal["log", "linear"] = Field("log", description="f: log as in arXiv 2402.10571, or linear.")
    gap: Gap = Field("score", description=_GAP)

    def __call__(self, batch: PairLogps) -> LossOutput:
        """Compute losses [B], nats, >= 0; NaN where a score is missing.

        Raises:
            DataError: ``margin="log"`` and a gap is zero or negative.
        """
        offset = gap = _GAPS[self.gap](batch)
        if self.margin == "log":
            # NaN passes on: a missing score gives a loss of NaN, which training reports with its pairs.
            wrong = (gap <= 0).nonzero()
            if len(wrong):
                row = int(wrong[0])
                raise DataError(
                    f"the {self.gap} gap of {len(wrong)} pairs is not positive (first: {float(gap[row]):g}): it has no "
                    "logarithm",
                    remedy="drop ties; use gap: distance for goal pairs, or margin: linear",
                    place=Place(row=row),
                )
            offset = gap.log()
        return attach_ratio_rewards(logistic(self.beta * batch.delta - self.alpha * offset), batch, self.beta)
