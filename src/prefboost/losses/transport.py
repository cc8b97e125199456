"""Alignment by optimal transport: the distribution of chosen rewards shall dominate that of rejected ones."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from prefboost.losses.interface import LossOutput, PairLogps, PairLoss
from prefboost.losses.terms import attach_ratio_rewards, logistic

__all__ = ["AOT", "AOTUnpaired"]


class AOT(PairLoss):
    """Alignment via optimal transport, paired (arXiv 2406.05882, section 3).

    The policy's log-ratios of chosen to rejected and the reference's are each sorted over the batch; the k-th of one is
    compared with the k-th of the other. The losses therefore stand in sorted order, not in that of the pairs.
    """

    whole_batch: ClassVar[bool] = True

    kind: Literal["aot"] = Field("aot", description="Alignment via optimal transport, paired (arXiv 2406.05882).")
    beta: float = Field(0.1, gt=0, description="Strength of the tie to the reference (arXiv 2406.05882).")
    label_smoothing: float = Field(0.0, ge=0, lt=0.5, description="Assumed share of wrong labels (as in TRL).")

    def __call__(self, batch: PairLogps) -> LossOutput:
        """Compute losses [B], nats, >= 0, in sorted order."""
        # Sorting is differentiable in the values; the permutation is a constant.
        delta = (batch.chosen - batch.rejected).sort().values - batch.ref_delta.sort().values
        return attach_ratio_rewards(logistic(self.beta * delta, self.label_smoothing), batch, self.beta)


class AOTUnpaired(PairLoss):
    """Alignment via optimal transport, unpaired (arXiv 2406.05882, section 3).

    The log-ratios of policy to reference are sorted over the batch, chosen and rejected separately, and the k-th
    of one is compared with the k-th of the other. The losses therefore stand in sorted order, not in that of the pairs.
    """

    whole_batch: ClassVar[bool] = True

    kind: Literal["aot_unpaired"] = Field(
        "aot_unpaired", description="Alignment via optimal transport, unpaired (arXiv 2406.05882)."
    )
    beta: float = Field(0.1, gt=0, description="Strength of the tie to the reference (arXiv 2406.05882).")
    label_smoothing: float = Field(0.0, ge=0, lt=0.5, description="Assumed share of wrong labels (as in TRL).")

    def __call__(self, batch: PairLogps) -> LossOutput:
        """Compute losses [B], nats, >= 0, in sorted order."""
        delta = batch.ratio_chosen.sort().values - batch.ratio_rejected.sort().values
        return attach_ratio_rewards(logistic(self.beta * delta, self.label_smoothing), batch, self.beta)
