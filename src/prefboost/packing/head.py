"""Log-probs of tokens from hidden states, without the logits of more than one chunk at a time.

The gradient is computed by hand: the backward pass makes a chunk's logits again and turns them into their gradient in
place, which takes half the memory of letting autograd do it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["LOGIT_CHUNK_BYTES", "Head", "read_head", "compute_token_logps"]

LOGIT_CHUNK_BYTES = {"cpu": 256 * 2**20, "cuda": 512 * 2**20}
"""Most bytes of float32 logits at a time, by device."""

CHUNK_ROWS = 256
"""Rows of logits at a time where these are at least a quarter of all: smaller products cost more than they save."""

ELEMENT_ROWS = 16
"""Rows whose exponentials are taken at a time on a CPU, so that they stay in its cache."""


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


def compute_token_logps(hidden: Tensor, targets: Tensor, head: Head, *, rows: int | None = None) -> Tensor:
    """Log-probs of tokens.

    Args:
        hidden: [C, H], after the final norm.
        targets: [C].
        head: see `Head`.
        rows: of hidden states at a time; default: as many as `LOGIT_CHUNK_BYTES` allows.

    Returns:
        [C], nats, float32 (float64 for float64 models).
    """
    device = hidden.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else head.weight.dtype
    weight = head.weight.to(dtype)
    bias = None if head.bias is None else head.bias.to(dtype)
    if rows is None:
        most = max(1, LOGIT_CHUNK_BYTES.get(device, LOGIT_CHUNK_BYTES["cpu"]) // (4 * weight.shape[0]))
        rows = min(most, max(CHUNK_ROWS, -(-len(hidden) // 4)))
    found: Tensor = _TokenLogps.apply(  # type: ignore[no-untyped-call]
        hidden.to(dtype), weight, bias, targets, head.scale, head.cap, rows
    )
    return found


class _TokenLogps(torch.autograd.Function):
    """Chunked log-softmax at the targets; see `compute_token_logps` for the arguments."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, *how: Any) -> Tensor:
        scale, cap, rows = how
        ctx.save_for_backward(hidden, weight, bias, targets)
        ctx.how = how
        wide = torch.promote_types(hidden.dtype, torch.float32)
        found, norms = (torch.empty(len(hidden), dtype=wide, device=hidden.device) for _ in range(2))
        buffers = _Buffers.of(hidden, weight, rows)
        with torch.autocast(hidden.device.type, enabled=False):
            for start in range(0, len(hidden), rows):
                logits = buffers.logits(hidden[start : start + rows], weight, bias)
                for first, part in buffers.blocks(logits, scale, cap):
                    block = slice(start + first, start + first + len(part))
                    found[block] = part.gather(-1, targets[block, None]).squeeze(-1)
                    largest = part.amax(-1)
                    norms[block] = part.sub_(largest[:, None]).exp_().sum(-1).log_().add_(largest)
        ctx.norms = norms
        return found.sub_(norms)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        hidden, weight, bias, targets = ctx.saved_tensors
        scale, cap, rows = ctx.how
        wide = ctx.norms.dtype
        grad = grad.to(wide)
        wants_weight, wants_bias = ctx.needs_input_grad[1], bias is not None and ctx.needs_input_grad[2]
        grad_hidden = torch.empty_like(hidden)
        grad_weight = torch.zeros(weight.shape, dtype=wide, device=weight.device) if wants_weight else None
        grad_bias = torch.zeros(weight.shape[0], dtype=wide, device=weight.device) if wants_bias else None
        buffers = _Buffers.of(hidden, weight, rows)
        with torch.autocast(hidden.device.type, enabled=False):
            for start in range(0, len(hidden), rows):
                chunk = slice(start, start + rows)
                change = buffers.logits(hidden[chunk], weight, bias)
                for first, part in buffers.blocks(change, scale, cap):
                    block = slice(start + first, start + first + len(part))
                    bent = None if cap is None else 1 - (part / cap).square()
                    part.sub_(ctx.norms[block, None]).exp_().mul_(-grad[block, None])
                    part.scatter_add_(-1, targets[block, None], grad[block, None])
                    _ = None if bent is None else part.mul_(bent)
                    _ = None if scale == 1.0 else part.mul_(scale)
                    if grad_bias is not None:
                        grad_bias += part.sum(0)
                    buffers.keep(change, first, part)
                torch.mm(change, weight, out=grad_hidden[chunk])
                if grad_weight is not None:
                    _add_product(grad_weight, change.t(), hidden[chunk])
        given = None if grad_weight is None else grad_weight.to(weight.dtype)
        return grad_hidden, given, None if grad_bias is None else grad_bias.to(bias.dtype), None, None, None, None


@dataclass(frozen=True)
class _Buffers:
    """Memory that every chunk uses again: fresh pages for each would cost as much as the arithmetic.

    Args:
        chunk: [rows, V], logits in the number type of the product.
        block: [ELEMENT_ROWS, V], a few rows in the wide type, small enough for a cache; None where logits are wide.
    """

    chunk: Tensor
    block: Tensor | None

    @classmethod
    def of(cls, hidden: Tensor, weight: Tensor, rows: int) -> _Buffers:
        wide = torch.promote_types(hidden.dtype, torch.float32)
        chunk = hidden.new_empty(min(rows, len(hidden)), weight.shape[0])
        narrow = hidden.dtype != wide
        block = hidden.new_empty(_element_rows(chunk), weight.shape[0], dtype=wide) if narrow else None
        return cls(chunk, block)

    def logits(self, hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        chunk = self.chunk[: len(hidden)]
        torch.mm(hidden, weight.t(), out=chunk)
        return chunk if bias is None else chunk.add_(bias)

    def blocks(self, logits: Tensor, scale: float, cap: float | None) -> Iterator[tuple[int, Tensor]]:
        """A few rows at a time in the wide type, after scale and cap, with the number of the first."""
        size = _element_rows(logits)
        for first in range(0, len(logits), size):
            part = logits[first : first + size]
            part = part if self.block is None else self.block[: len(part)].copy_(part)
            part = part if scale == 1.0 else part.mul_(scale)
            yield first, part if cap is None else part.div_(cap).tanh_().mul_(cap)

    def keep(self, chunk: Tensor, first: int, part: Tensor) -> None:
        """Put changed rows back where they came from."""
        if self.block is not None:
            chunk[first : first + len(part)] = part


def _element_rows(logits: Tensor) -> int:
    return len(logits) if logits.is_cuda else min(max(1, len(logits)), ELEMENT_ROWS)


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total += left @ right; the sum keeps the number type of ``total``."""
    if left.dtype == total.dtype:
        total.addmm_(left, right)
    else:
        total += left @ right


def read_head(model: Any) -> Head | None:
    """The model's output layer; None where it is not a plain linear layer (adapters on it, quantised weights)."""
    from prefboost.losses.completion_logps import read_logit_scale

    layer = model.get_output_embeddings()
    if type(layer) is not torch.nn.Linear:
        return None
    config = model.config.get_text_config()
    cap = getattr(config, "final_logit_softcapping", None)
    return Head(_whole(layer.weight), _whole(layer.bias), read_logit_scale(config), cap or None)


def _whole(parameter: Any) -> Any:
    """A parameter that is sharded over devices (DTensor) in one piece; gradients find their way back."""
    return parameter.full_tensor() if hasattr(parameter, "full_tensor") else parameter
