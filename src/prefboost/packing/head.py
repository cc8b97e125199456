"""Log-probs of tokens from hidden states, without the logits of more than one chunk at a time.

The gradient is computed by hand: the backward pass makes a chunk's logits again and turns them into their gradient in
place, which takes half the memory of letting autograd do it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["CHUNK_BYTES", "Head", "head_of", "token_logps"]

CHUNK_BYTES = {"cpu": 64 * 2**20, "cuda": 512 * 2**20}
"""Most bytes of float32 logits at a time, by device."""


@dataclass(frozen=True)
class Head:
    """The output layer and what the architecture does to its logits: ``cap * tanh(scale * (h @ W.T + b) / cap)``.

    Args:
        weight: [V, H].
        bias: [V] or None.
        scale: of the logits.
        cap: soft cap of the scaled logits, or None.
    """

    weight: Tensor
    bias: Tensor | None
    scale: float
    cap: float | None


def token_logps(hidden: Tensor, targets: Tensor, head: Head, *, rows: int | None = None) -> Tensor:
    """Log-probs of tokens.

    Args:
        hidden: [C, H], after the final norm.
        targets: [C].
        head: see `Head`.
        rows: of hidden states at a time; default: as many as `CHUNK_BYTES` allows.

    Returns:
        [C], nats, float32 (float64 for float64 models).
    """
    device = hidden.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else head.weight.dtype
    weight = head.weight.to(dtype)
    bias = None if head.bias is None else head.bias.to(dtype)
    if rows is None:
        rows = max(1, CHUNK_BYTES.get(device, CHUNK_BYTES["cpu"]) // (4 * weight.shape[0]))
    found: Tensor = _TokenLogps.apply(  # type: ignore[no-untyped-call]
        hidden.to(dtype), weight, bias, targets, head.scale, head.cap, rows
    )
    return found


class _TokenLogps(torch.autograd.Function):
    """Chunked log-softmax at the targets; see `token_logps` for the arguments."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, *how: Any) -> Tensor:
        scale, cap, rows = how
        ctx.save_for_backward(hidden, weight, bias, targets)
        ctx.how = how
        wide = torch.float64 if hidden.dtype == torch.float64 else torch.float32
        found = torch.empty(len(hidden), dtype=wide, device=hidden.device)
        norms = torch.empty_like(found)
        with torch.autocast(hidden.device.type, enabled=False):
            for start in range(0, len(hidden), rows):
                chunk = slice(start, start + rows)
                logits = _logits(hidden[chunk], weight, bias, scale, cap).to(wide)
                norms[chunk] = logits.logsumexp(-1)
                found[chunk] = logits.gather(-1, targets[chunk, None]).squeeze(-1) - norms[chunk]
        ctx.norms = norms
        return found

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        hidden, weight, bias, targets = ctx.saved_tensors
        scale, cap, rows = ctx.how
        wide = ctx.norms.dtype
        wants_weight, wants_bias = ctx.needs_input_grad[1], bias is not None and ctx.needs_input_grad[2]
        grad_hidden = torch.empty_like(hidden)
        grad_weight = torch.zeros(weight.shape, dtype=wide, device=weight.device) if wants_weight else None
        grad_bias = torch.zeros(weight.shape[0], dtype=wide, device=weight.device) if wants_bias else None
        with torch.autocast(hidden.device.type, enabled=False):
            for start in range(0, len(hidden), rows):
                chunk = slice(start, start + rows)
                change = _logits(hidden[chunk], weight, bias, scale, cap).to(wide)
                bent = None if cap is None else 1 - (change / cap).square()
                change.sub_(ctx.norms[chunk, None]).exp_().mul_(-grad[chunk, None])
                change.scatter_add_(-1, targets[chunk, None], grad[chunk, None].to(wide))
                if bent is not None:
                    change.mul_(bent)
                if scale != 1.0:
                    change.mul_(scale)
                narrow = change.to(weight.dtype)
                torch.mm(narrow, weight, out=grad_hidden[chunk])
                if grad_weight is not None:
                    _add_product(grad_weight, narrow.t(), hidden[chunk])
                if grad_bias is not None:
                    grad_bias += change.sum(0)
        given = None if grad_weight is None else grad_weight.to(weight.dtype)
        return grad_hidden, given, None if grad_bias is None else grad_bias.to(bias.dtype), None, None, None, None


def _logits(hidden: Tensor, weight: Tensor, bias: Tensor | None, scale: float, cap: float | None) -> Tensor:
    logits = torch.nn.functional.linear(hidden, weight, bias)
    logits = logits if scale == 1.0 else logits.mul_(scale)
    return logits if cap is None else logits.div_(cap).tanh_().mul_(cap)


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total += left @ right; the sum keeps the number type of ``total``."""
    if left.dtype == total.dtype:
        total.addmm_(left, right)
    else:
        total += left @ right


def head_of(model: Any) -> Head | None:
    """The model's output layer; None where it is not a plain linear layer (adapters on it, quantised weights)."""
    from prefboost.losses.completion_logps import logit_scale

    layer = model.get_output_embeddings()
    if type(layer) is not torch.nn.Linear:
        return None
    config = model.config.get_text_config()
    cap = getattr(config, "final_logit_softcapping", None)
    return Head(_whole(layer.weight), _whole(layer.bias), logit_scale(config), cap or None)


def _whole(parameter: Any) -> Any:
    """A parameter that is sharded over devices (DTensor) in one piece; gradients find their way back."""
    return parameter.full_tensor() if hasattr(parameter, "full_tensor") else parameter
