"""Losses that pull a log-ratio to a target by its squared distance: IPO and SPPO with hard labels."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from prefboost.losses.interface import LossOutput, PairLogps, PairLoss
from prefboost.losses.terms import attach_ratio_rewards

__all__ = ["IPO", "SPPOHard"]


class IPO(PairLoss):
    """Identity preference optimisation (arXiv 2310.12036, eq. 17): (D - 1/(2 beta))^2, beta being the paper's tau.

    D is taken per token of each completion by default, as the paper's authors computed it (said in TRL's source);
    ``normalise=False`` is the equation to the letter.
    """

    kind: Literal["ipo"] = Field("ipo", description="Identity preference optimisation (arXiv 2310.12036).")
    beta: float = Field(0.1, gt=0, description="tau of arXiv 2310.12036: the target of D is 1 / (2 beta).")
    normalise: bool = Field(
        True, description="Divide each log-ratio by its completion's tokens, as TRL does; false: eq. 17 to the letter."
    )

    def __call__(self, batch: PairLogps) -> LossOutput:
        """Compute losses [B], nats squared (per token squared where normalised), >= 0."""
        delta = batch.average_delta if self.normalise else batch.delta
        return attach_ratio_rewards((delta - 1 / (2 * self.beta)) ** 2, batch, self.beta)


class SPPOHard(PairLoss):
    """Self-play preference optimisation with hard labels (arXiv 2405.00675, eq. 4.7, P = 1 and 0).

    (a - 1/(2 beta))^2 + (b + 1/(2 beta))^2 with the log-ratios a of chosen and b of rejected; beta is 1/eta.
    """

    kind: Literal["sppo_hard"] = Field("sppo_hard", description="SPPO with hard labels (arXiv 2405.00675).")
    beta: float = Field(0.001, gt=0, description="1 / eta; eta is 1000 in arXiv 2405.00675.")

    def __call__(self, batch: PairLogps) -> LossOutput:
        """Compute losses [B], nats squared, >= 0."""
        target = 1 / (2 * self.beta)
        losses = (batch.ratio_chosen - target) ** 2 + (batch.ratio_rejected + target) ** 2
        return attach_ratio_rewards(losses, batch, self.beta)
