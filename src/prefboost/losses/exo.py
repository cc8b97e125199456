"""Efficient exact optimisation on pairs: the reverse KL to the labels."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from prefboost.losses.interface import LossOutput, PairLogps, PairLoss
from prefboost.losses.terms import attach_ratio_rewards, bernoulli_kl

__all__ = ["EXOPair"]


class EXOPair(PairLoss):
    """Efficient exact optimisation (arXiv 2402.00856, eq. 16): KL((sigmoid(beta D), .) || (1 - e, e))."""

    kind: Literal["exo_pair"] = Field("exo_pair", description="Efficient exact optimisation (arXiv 2402.00856).")
    beta: float = Field(0.1, gt=0, description="beta_pi of arXiv 2402.00856: tie to the reference.")
    label_smoothing: float = Field(
        1e-3, gt=0, lt=0.5, description="Probability that the label is wrong; 1e-3 as arXiv 2402.00856 advises."
    )

    def __call__(self, batch: PairLogps) -> LossOutput:
        """Compute losses [B], nats, >= 0."""
        logit = self.beta * batch.delta
        label = logit.new_tensor(math.log1p(-self.label_smoothing) - math.log(self.label_smoothing))
        return attach_ratio_rewards(bernoulli_kl(logit, label), batch, self.beta)
