"""Formulas that several losses share, each written once and finite for log-ratios of +-10,000 nats."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from prefboost.losses.interface import LossOutput, PairLogps

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "NllMean",
    "bernoulli_kl",
    "chosen_nll",
    "log_odds",
    "log_sigmoid",
    "logistic",
    "attach_rewards",
    "attach_ratio_rewards",
]

NllMean = Literal["completion", "batch", "none"]
"""How a negative log-likelihood is averaged: over the completion's tokens, over all the batch's tokens, or summed."""


def log_sigmoid(logit: Tensor) -> Tensor:
    """log(1 / (1 + exp(-logit))), any shape, <= 0."""
    from torch.nn.functional import logsigmoid

    return logsigmoid(logit)


def logistic(logit: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """-(1 - e) log sigmoid(x) - e log sigmoid(-x), any shape, >= 0: the label is right with probability 1 - e."""
    right = -(1 - label_smoothing) * log_sigmoid(logit)
    return right if label_smoothing == 0 else right - label_smoothing * log_sigmoid(-logit)


def bernoulli_kl(logit: Tensor, other: Tensor) -> Tensor:
    """KL(Bernoulli(sigmoid(logit)) || Bernoulli(sigmoid(other))), any shape, nats, >= 0."""
    return logit.sigmoid() * (log_sigmoid(logit) - log_sigmoid(other)) + (-logit).sigmoid() * (
        log_sigmoid(-logit) - log_sigmoid(-other)
    )


def log_odds(logp: Tensor) -> Tensor:
    """log(p / (1 - p)) from log p, any shape. p = 1 counts as 1 - eps of the number type, so that it stays finite."""
    from torch import finfo, log1p, where

    logp = logp.clamp(max=-finfo(logp.dtype).eps)
    # 1 - p loses its digits in exp where p is near 1, and in expm1 where p is near 0: branch at p = 1/2.
    log_rest = where(logp < -0.6931471805599453, log1p(-logp.exp()), (-logp.expm1()).log())
    return logp - log_rest


def chosen_nll(batch: PairLogps, mean: NllMean) -> Tensor:
    """Negative log-likelihood of the chosen completions [B], nats (a token, unless ``mean`` is none), >= 0.

    ``mean="batch"`` shares the batch's tokens out so that the mean over the B rows is the mean over all tokens.
    """
    if mean == "completion":
        return -batch.average_chosen
    if mean == "batch":
        return -batch.chosen * (len(batch.chosen) / batch.length_chosen.sum().clamp(min=1))
    return -batch.chosen


def attach_rewards(losses: Tensor, chosen: Tensor, rejected: Tensor) -> LossOutput:
    """A loss's output; the implicit rewards [B] are cut off from the gradient."""
    return LossOutput(losses=losses, reward_chosen=chosen.detach(), reward_rejected=rejected.detach())


def attach_ratio_rewards(losses: Tensor, batch: PairLogps, beta: float) -> LossOutput:
    """A loss's output with DPO's implicit rewards: beta log(policy / reference) (arXiv 2305.18290, section 4)."""
    return attach_rewards(losses, beta * batch.ratio_chosen, beta * batch.ratio_rejected)
