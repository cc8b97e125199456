"""Formulas that several losses share, each written once and finite for log-ratios of +-10,000 nats."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from prefboost.losses.interface import LossOutput, PairLogps

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "NllMean",
    "bernoulli_kl",
    "compute_chosen_nll",
    "log_odds",
    "log_sigmoid",
    "logistic",
    "attach_rewards",
    "attach_ratio_rewards",
]

NllMean = Literal["completion", "batch", "none"]
"""Average of a negative log-likelihood: over the completion's tokens, over all the batch's tokens, or its sum."""


def log_sigmoid(logit: Tensor) -> Tensor:
    """Compute log(1 / (1 + exp(-logit))), any shape, <= 0."""
    from torch.nn.functional import logsigmoid

    return logsigmoid(logit)


def logistic(logit: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Compute -(1 - e) log sigmoid(x) - e log sigmoid(-x), any shape, >= 0; labels are right with probability 1 - e."""
    if_right = -(1 - label_smoothing) * log_sigmoid(logit)
    return if_right if label_smoothing == 0 else if_right - label_smoothing * log_sigmoid(-logit)


def bernoulli_kl(logit: Tensor, other: Tensor) -> Tensor:
    """Compute KL(Bernoulli(sigmoid(logit)) || Bernoulli(sigmoid(other))), any shape, nats, >= 0."""
    return logit.sigmoid() * (log_sigmoid(logit) - log_sigmoid(other)) + (-logit).sigmoid() * (
        log_sigmoid(-logit) - log_sigmoid(-other)
    )


def log_odds(logp: Tensor) -> Tensor:
    """Compute log(p / (1 - p)) from log p, any shape; p = 1 counts as 1 - eps of the number type, to stay finite."""
    from torch import finfo, log1p, where

    logp = logp.clamp(max=-finfo(logp.dtype).eps)
    # 1 - p loses its digits in exp where p is near 1, and in expm1 where p is near 0: branch at p = 1/2.
    log_rest = where(logp < -0.6931471805599453, log1p(-logp.exp()), (-logp.expm1()).log())
    return logp - log_rest


def compute_chosen_nll(batch: PairLogps, mean: NllMean) -> Tensor:
    """Compute the negative log-likelihood of chosen [B], nats (per token, unless ``mean`` is none), >= 0.

    With ``mean="batch"`` the mean over the B rows is the mean over all tokens of the batch.
    """
    if mean == "completion":
        return -batch.average_chosen
    if mean == "batch":
        return -batch.chosen * (len(batch.chosen) / batch.length_chosen.sum().clamp(min=1))
    return -batch.chosen


def attach_rewards(losses: Tensor, chosen: Tensor, rejected: Tensor) -> LossOutput:
    """Attach implicit rewards [B] to losses [B]; the rewards carry no gradient."""
    return LossOutput(losses=losses, reward_chosen=chosen.detach(), reward_rejected=rejected.detach())


def attach_ratio_rewards(losses: Tensor, batch: PairLogps, beta: float) -> LossOutput:
    """Attach DPO's implicit rewards, beta log(policy / reference) (arXiv 2305.18290, section 4)."""
    return attach_rewards(losses, beta * batch.ratio_chosen, beta * batch.ratio_rejected)
