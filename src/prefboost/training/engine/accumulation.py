"""An optimiser step in parts: gradients added up part by part, exchanged once, on devices that stay in step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

__all__ = ["accumulate", "gather_maximum", "splits_weights"]


def accumulate(
    accelerator: Any,
    model: Any,
    losses: Sequence[Callable[[], torch.Tensor]],
    context: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> torch.Tensor:
    """Compute losses one after the other and add up their gradients; devices exchange them once, at the last.

    Args:
        accelerator: of accelerate.
        model: wrapped.
        losses: each computes one loss.
        context: around each forward, e.g. autocast.

    Returns:
        the sum of the losses, without gradient.
    """
    # DeepSpeed divides every loss by its own count of micro-batches unless it is told not to; ours are scaled already.
    deepspeed = accelerator.distributed_type.value == "DEEPSPEED"
    options: dict[str, Any] = {"scale_wrt_gas": False} if deepspeed else {}
    # Summed on the device: reading each loss would wait for the GPU once per micro-batch.
    total = torch.zeros((), device=accelerator.device)
    for number, loss_of in enumerate(losses):
        last = number == len(losses) - 1
        # accelerate's wrappers ask this flag whether the backward pass is the last one of the step.
        accelerator.gradient_state._set_sync_gradients(last)
        # One exchange of gradients per step: its cost does not grow with the number of micro-batches.
        with nullcontext() if last else accelerator.no_sync(model):
            with context():
                loss = loss_of()
            accelerator.backward(loss, **options)
        total += loss.detach()
    return total


def gather_maximum(accelerator: Any, number: int) -> int:
    """Return the largest of a number over all processes."""
    if accelerator.num_processes == 1:
        return number
    # Every process has to call this, also one that knows its number is the largest.
    numbers = accelerator.gather(torch.tensor([number], device=accelerator.device))
    return int(numbers.max())


def splits_weights(accelerator: Any) -> bool:
    """Return whether processes hold parts of the weights (FSDP, ZeRO), so that they must compute in step."""
    return accelerator.distributed_type.value in ("FSDP", "DEEPSPEED")
