"""What a layer wants of its attention."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

__all__ = ["AttentionKind"]


@dataclass(frozen=True)
class AttentionKind:
    """What a layer wants of its attention beyond plain causal attention.

    Args:
        scale: of the scores; None is 1 / sqrt(D).
        window: tokens seen, the own one included; None sees all.
        chunk: tokens of a chunk, beyond whose beginning nothing is seen; None has no chunks.
        softcap: scores become ``softcap * tanh(score / softcap)``.
        sinks: [H], a score a head that takes attention away from all tokens.
    """

    scale: float | None = None
    window: int | None = None
    chunk: int | None = None
    softcap: float | None = None
    sinks: Tensor | None = None

    @property
    def plain_scores(self) -> bool:
        """Whether scores go into the softmax as they are."""
        return self.softcap is None and self.sinks is None
