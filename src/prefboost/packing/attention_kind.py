"""The kind of attention that a layer computes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["AttentionKind"]


@dataclass(frozen=True)
class AttentionKind:
    """Attention of one layer, beyond plain causal attention.

    Args:
        scale: factor of the scores; None is 1 / sqrt(D).
        window: tokens that a query sees, itself included; None sees all.
        chunk: tokens per chunk: a query sees its own chunk only (Llama 4); None has no chunks.
        softcap: scores become ``softcap * tanh(score / softcap)`` (Gemma 2).
        sinks: [H], one learned score per head that takes attention away from all tokens (GPT-OSS).
    """

    scale: float | None = None
    window: int | None = None
    chunk: int | None = None
    softcap: float | None = None
    sinks: Tensor | None = None

    @property
    def has_plain_scores(self) -> bool:
        """Return whether scores go into the softmax unchanged."""
        return self.softcap is None and self.sinks is None

    def mark_seen(self, queries: range, keys: range, device: torch.device | None = None) -> Tensor:
        """Build the mask [queries, keys] of a path, True where a query sees a key.

        Args:
            queries, keys: positions on the path.
            device: of the mask; None is the CPU.
        """
        query_at = torch.arange(queries.start, queries.stop, device=device)[:, None]
        key_at = torch.arange(keys.start, keys.stop, device=device)[None, :]
        is_seen = key_at <= query_at
        if self.window is not None:
            is_seen &= query_at - key_at < self.window
        if self.chunk is not None:
            is_seen &= query_at // self.chunk == key_at // self.chunk
        return is_seen
