"""Log-probs of tokens from hidden states, without the logits of more than one chunk at a time.

The gradient is computed by hand: the backward pass computes a chunk's logits again and turns them into their gradient
in place, which takes half the memory of letting autograd do it.

Axes, which the names of tensors inside a chunk carry: C predictions, R rows of a chunk, B rows of a block of the chunk,
V tokens of the vocabulary, H numbers per hidden state.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from prefboost.losses.completion_logps import read_logit_scale

__all__ = ["LOGIT_CHUNK_BYTES", "Head", "compute_token_logps", "read_head"]

LOGIT_CHUNK_BYTES = {"cpu": 256 * 2**20, "cuda": 512 * 2**20}
"""Most bytes of float32 logits at a time, by device."""

CHUNK_ROWS = 256
"""Rows per chunk where these are at least a quarter of all: smaller products cost more than they save."""

BLOCK_ROWS = 16
"""Rows per block on a CPU: their exponentials stay in its cache. On other devices a block is the whole chunk."""


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
    """Compute log-probs of tokens.

    Args:
        hidden: [C, H], after the final norm.
        targets: [C], token ids.
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
        # At most a quarter of all rows at a time, so that the logits are never the largest tensor of the step, unless
        # chunks would be so small that the product's overhead shows.
        most = max(1, LOGIT_CHUNK_BYTES.get(device, LOGIT_CHUNK_BYTES["cpu"]) // (4 * weight.shape[0]))
        rows = min(most, max(CHUNK_ROWS, -(-len(hidden) // 4)))
    logps: Tensor = _TokenLogps.apply(  # type: ignore[no-untyped-call]
        hidden.to(dtype), weight, bias, targets, head.scale, head.cap, rows
    )
    return logps


class _TokenLogps(torch.autograd.Function):
    """Log-softmax at the targets, chunk by chunk; see `compute_token_logps` for the arguments."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, *scale_cap_rows: Any
    ) -> Tensor:
        scale, cap, rows = scale_cap_rows
        ctx.save_for_backward(hidden, weight, bias, targets)
        ctx.scale_cap_rows = scale_cap_rows
        wide = torch.promote_types(hidden.dtype, torch.float32)
        target_logits, norms = (torch.empty(len(hidden), dtype=wide, device=hidden.device) for _ in range(2))
        buffers = _Buffers.allocate(hidden, weight, rows)
        with torch.autocast(hidden.device.type, enabled=False):
            for start in range(0, len(hidden), rows):
                logits_RV = buffers.compute_logits(hidden[start : start + rows], weight, bias)
                for first, logits_BV in buffers.split_blocks(logits_RV, scale, cap):
                    block = slice(start + first, start + first + len(logits_BV))
                    target_logits[block] = logits_BV.gather(-1, targets[block, None]).squeeze(-1)
                    # norm = logsumexp(y) = m + log(sum exp(y - m)) with m = max(y), in place: y is not needed again.
                    largest_B = logits_BV.amax(-1)
                    norms[block] = logits_BV.sub_(largest_B[:, None]).exp_().sum(-1).log_().add_(largest_B)
        ctx.norms = norms
        return target_logits.sub_(norms)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        """Derive the log-softmax at the targets by hand.

        With z = h W^T + b, u = scale z, y = cap tanh(u / cap) and norm = logsumexp(y), the output is y[target] - norm.
        ``grad`` is the gradient [C] of the output.
        """
        hidden, weight, bias, targets = ctx.saved_tensors
        scale, cap, rows = ctx.scale_cap_rows
        wide = ctx.norms.dtype
        grad = grad.to(wide)
        wants_weight, wants_bias = ctx.needs_input_grad[1], bias is not None and ctx.needs_input_grad[2]
        grad_hidden = torch.empty_like(hidden)
        # Chunks add to the gradients of weight and bias; in half precision the sums would lose their small terms.
        grad_weight = torch.zeros(weight.shape, dtype=wide, device=weight.device) if wants_weight else None
        grad_bias = torch.zeros(weight.shape[0], dtype=wide, device=weight.device) if wants_bias else None
        buffers = _Buffers.allocate(hidden, weight, rows)
        with torch.autocast(hidden.device.type, enabled=False):
            for start in range(0, len(hidden), rows):
                chunk = slice(start, start + rows)
                # One buffer holds the chunk's logits first and their gradient afterwards, block by block.
                grad_logits_RV = buffers.compute_logits(hidden[chunk], weight, bias)
                for first, grad_BV in buffers.split_blocks(grad_logits_RV, scale, cap):
                    block = slice(start + first, start + first + len(grad_BV))
                    # dy/du = 1 - tanh(u / cap)^2 = 1 - (y / cap)^2; taken before y is overwritten.
                    cap_slope_BV = None if cap is None else 1 - (grad_BV / cap).square()
                    # d output / dy_v = [v = target] - softmax(y)_v with softmax(y)_v = exp(y_v - norm), hence
                    # dy_v = -grad exp(y_v - norm), plus grad at the target.
                    grad_BV.sub_(ctx.norms[block, None]).exp_().mul_(-grad[block, None])
                    grad_BV.scatter_add_(-1, targets[block, None], grad[block, None])
                    # du = dy * dy/du, and dz = scale du since u = scale z.
                    if cap_slope_BV is not None:
                        grad_BV.mul_(cap_slope_BV)
                    if scale != 1.0:
                        grad_BV.mul_(scale)
                    # z = h W^T + b, hence db = sum over rows of dz.
                    if grad_bias is not None:
                        grad_bias += grad_BV.sum(0)
                    buffers.put_back(grad_logits_RV, first, grad_BV)
                # z = h W^T + b, hence dh = dz W and dW = dz^T h.
                torch.mm(grad_logits_RV, weight, out=grad_hidden[chunk])
                if grad_weight is not None:
                    # The sum keeps its wide type; addmm_ would need factors of the same.
                    if grad_weight.dtype == hidden.dtype:
                        grad_weight.addmm_(grad_logits_RV.t(), hidden[chunk])
                    else:
                        grad_weight += grad_logits_RV.t() @ hidden[chunk]
        narrow_weight = None if grad_weight is None else grad_weight.to(weight.dtype)
        narrow_bias = None if grad_bias is None else grad_bias.to(bias.dtype)
        return grad_hidden, narrow_weight, narrow_bias, None, None, None, None


@dataclass(frozen=True)
class _Buffers:
    """Memory that every chunk uses again: fresh pages for each would cost as much as the arithmetic.

    Args:
        chunk: [R, V], logits in the number type of the product.
        block: [B, V], some rows in the wide type, few enough for a cache; None where the logits are wide already.
    """

    chunk: Tensor
    block: Tensor | None

    @classmethod
    def allocate(cls, hidden: Tensor, weight: Tensor, rows: int) -> _Buffers:
        wide = torch.promote_types(hidden.dtype, torch.float32)
        chunk = hidden.new_empty(min(rows, len(hidden)), weight.shape[0])
        # Exponentials of half-precision logits are taken in float32: bf16 keeps three digits.
        is_narrow = hidden.dtype != wide
        block = hidden.new_empty(_count_block_rows(chunk), weight.shape[0], dtype=wide) if is_narrow else None
        return cls(chunk, block)

    def compute_logits(self, hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Write h W^T + b of some rows into the chunk's memory and return them, [R, V]."""
        chunk = self.chunk[: len(hidden)]
        torch.mm(hidden, weight.t(), out=chunk)
        return chunk if bias is None else chunk.add_(bias)

    def split_blocks(self, logits: Tensor, scale: float, cap: float | None) -> Iterator[tuple[int, Tensor]]:
        """Yield a few rows [B, V] at a time in the wide type, after scale and cap, with the number of the first."""
        size = _count_block_rows(logits)
        for first in range(0, len(logits), size):
            block = logits[first : first + size]
            block = block if self.block is None else self.block[: len(block)].copy_(block)
            block = block if scale == 1.0 else block.mul_(scale)
            yield first, block if cap is None else block.div_(cap).tanh_().mul_(cap)

    def put_back(self, chunk: Tensor, first: int, block: Tensor) -> None:
        """Write changed rows back to where they came from; wide logits were changed in place."""
        if self.block is not None:
            chunk[first : first + len(block)] = block


def _count_block_rows(logits: Tensor) -> int:
    return len(logits) if logits.is_cuda else min(max(1, len(logits)), BLOCK_ROWS)


def read_head(model: Any) -> Head | None:
    """Read the model's output layer; None where it is not a plain linear layer (adapters on it, quantised weights)."""
    layer = model.get_output_embeddings()
    # Subclasses compute something else (adapters, quantised weights), so that only the very class is taken.
    if type(layer) is not torch.nn.Linear:
        return None
    config = model.config.get_text_config()
    cap = getattr(config, "final_logit_softcapping", None)
    return Head(_gather_shards(layer.weight), _gather_shards(layer.bias), read_logit_scale(config), cap or None)


def _gather_shards(parameter: Any) -> Any:
    """Return a parameter that is sharded over devices (DTensor) in one piece; gradients find their way back."""
    return parameter.full_tensor() if hasattr(parameter, "full_tensor") else parameter
