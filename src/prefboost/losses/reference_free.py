"""Losses that need no reference model: SimPO, CPO, ORPO and conditional supervised fine-tuning."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from prefboost.losses.interface import LossOutput, PairLogps, PairLoss
from prefboost.losses.terms import NllMean, attach_rewards, compute_chosen_nll, log_odds, logistic

__all__ = ["CPO", "ORPO", "SFT", "SimPO"]

_NLL_MEAN = (
    "Average of the log-likelihood: completion (over its own tokens), batch (over all tokens of the batch, as TRL), "
    "none (summed)."
)


class SimPO(PairLoss):
    """Simple preference optimisation (arXiv 2405.14734, eq. 6): -log sigmoid(beta (a - b) - gamma).

    a and b are the mean log-probs per token of chosen and rejected; gamma = gamma_beta_ratio * beta.
    """

    needs_reference: ClassVar[bool] = False

    kind: Literal["simpo"] = Field("simpo", description="Simple preference optimisation (arXiv 2405.14734).")
    beta: float = Field(2.0, gt=0, description="Scale of the reward; 2.0 to 10 in arXiv 2405.14734.")
    gamma_beta_ratio: float = Field(
        0.5, ge=0, description="Target margin over beta, nats per token; 0.3 to 0.5 in the released recipes of SimPO."
    )
    label_smoothing: float = Field(0.0, ge=0, lt=0.5, description="Assumed share of wrong labels (as in TRL).")

    def __call__(self, batch: PairLogps) -> LossOutput:
        """Compute losses [B], nats, >= 0."""
        chosen, rejected = batch.average_chosen, batch.average_rejected
        logit = self.beta * (chosen - rejected - self.gamma_beta_ratio)
        return attach_rewards(logistic(logit, self.label_smoothing), self.beta * chosen, self.beta * rejected)


class CPO(PairLoss):
    """Contrastive preference optimisation (arXiv 2401.08417, eq. 3 and the likelihood term of section 3).

    -log sigmoid(beta (log p_w - log p_l)) - nll_weight log p_w.
    """

    needs_reference: ClassVar[bool] = False

    kind: Literal["cpo"] = Field("cpo", description="Contrastive preference optimisation (arXiv 2401.08417).")
    beta: float = Field(0.1, gt=0, description="Scale of the log-probs (arXiv 2401.08417).")
    label_smoothing: float = Field(0.0, ge=0, lt=0.5, description="Assumed share of wrong labels (as in TRL).")
    nll_weight: float = Field(1.0, ge=0, description="Weight of the chosen completion's negative log-likelihood.")
    nll_mean: NllMean = Field("completion", description=_NLL_MEAN)

    @property
    def whole_batch(self) -> bool:
        """Return whether the likelihood is averaged over the batch's tokens."""
        return self.nll_mean == "batch"

    def __call__(self, batch: PairLogps) -> LossOutput:
        """Compute losses [B], nats, >= 0."""
        chosen, rejected = self.beta * batch.chosen, self.beta * batch.rejected
        losses = logistic(chosen - rejected, self.label_smoothing) + self.nll_weight * compute_chosen_nll(
            batch, self.nll_mean
        )
        return attach_rewards(losses, chosen, rejected)


class ORPO(PairLoss):
    """Odds ratio preference optimisation (arXiv 2403.07691, eqs. 4, 6 and 7).

    NLL of chosen - beta log sigmoid(log odds of chosen - log odds of rejected).

    Odds are those of the mean log-prob per token. The likelihood is that of the chosen completion, as in the paper; TRL
    counts the prompt's tokens too.
    """

    needs_reference: ClassVar[bool] = False

    kind: Literal["orpo"] = Field("orpo", description="Odds ratio preference optimisation (arXiv 2403.07691).")
    beta: float = Field(0.1, gt=0, description="lambda of arXiv 2403.07691: weight of the odds-ratio term.")
    nll_mean: NllMean = Field("completion", description=_NLL_MEAN)

    @property
    def whole_batch(self) -> bool:
        """Return whether the likelihood is averaged over the batch's tokens."""
        return self.nll_mean == "batch"

    def __call__(self, batch: PairLogps) -> LossOutput:
        """Compute losses [B], nats, >= 0."""
        chosen, rejected = batch.average_chosen, batch.average_rejected
        losses = compute_chosen_nll(batch, self.nll_mean) + self.beta * logistic(log_odds(chosen) - log_odds(rejected))
        return attach_rewards(losses, self.beta * chosen, self.beta * rejected)


class SFT(PairLoss):
    """Supervised fine-tuning on the chosen completion: -log p_w.

    On prompts that say the chosen completion's own score it is conditional fine-tuning, a baseline in the manner of
    SteerLM (arXiv 2310.05344, step 3). The implicit reward is the log-prob, in nats.
    """

    needs_reference: ClassVar[bool] = False

    kind: Literal["sft"] = Field(
        "sft", description="Fine-tuning on chosen; conditional where a goal is said (SteerLM)."
    )
    nll_mean: NllMean = Field("completion", description=_NLL_MEAN)

    @property
    def whole_batch(self) -> bool:
        """Return whether the likelihood is averaged over the batch's tokens."""
        return self.nll_mean == "batch"

    def __call__(self, batch: PairLogps) -> LossOutput:
        """Compute losses [B], nats, >= 0."""
        return attach_rewards(compute_chosen_nll(batch, self.nll_mean), batch.chosen, batch.rejected)
