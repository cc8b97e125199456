"""The kind of attention that a layer computes."""

from __future__ import annotations

from dataclasses import dataclass

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
