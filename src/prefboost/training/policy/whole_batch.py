"""Losses that need the whole batch, exactly: their gradient with respect to log-probs, computed over all devices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from prefboost.losses import Loss, LossOutput, PairLogps

__all__ = ["gradients_of_batch"]


def gradients_of_batch(
    loss: Loss, pairs: PairLogps, from_all: Callable[[Any], list[Any]], index: int
) -> tuple[LossOutput, Tensor]:
    """Compute the loss of all devices' pairs together, and the share of it that one device needs.

    Args:
        loss: any; its mean over all pairs is what is minimised.
        pairs: this device's V pairs.
        from_all: an object -> the objects of all devices, in their order.
        index: this device's place among them.

    Returns:
        this device's share of losses and rewards (losses that stand in sorted order are shared out as they stand),
        without gradient; the gradient [2V] of the mean loss with respect to chosen's, then rejected's log-probs.
    """
    mine = {field.name: getattr(pairs, field.name) for field in fields(PairLogps)}
    # Numbers per pair travel, not activations: a few hundred bytes per device and step.
    shares = from_all({name: None if tensor is None else tensor.detach().cpu() for name, tensor in mine.items()})
    sizes = [len(share["chosen"]) for share in shares]
    # Devices hold different numbers of views, since units differ in them.
    begin = sum(sizes[:index])
    rows = slice(begin, begin + sizes[index])
    joined: dict[str, Any] = {
        name: None if tensor is None else torch.cat([share[name] for share in shares]).to(tensor.device)
        for name, tensor in mine.items()
    }
    # Leaves of a graph that ends at the log-probs: the model is not part of it.
    leaves = [joined[name].requires_grad_() for name in ("chosen", "rejected")]
    with torch.enable_grad():
        output = loss(PairLogps(**joined))
        # Losses without a part for rejected completions (SFT) leave its gradient at zero.
        gradients = torch.autograd.grad(output.losses.mean(), leaves, allow_unused=True, materialize_grads=True)
    share = LossOutput(
        losses=output.losses.detach()[rows],
        reward_chosen=output.reward_chosen[rows],
        reward_rejected=output.reward_rejected[rows],
    )
    return share, torch.cat([gradient[rows] for gradient in gradients])
