"""Nectar (berkeley-nest/Nectar): seven completions per prompt, ranked by GPT-4."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from prefboost.sources.collection import Collection
from prefboost.sources.layouts.layout import Layout
from prefboost.sources.readers.raw import Reader
from prefboost.sources.rows.scores import RANKS

__all__ = ["Nectar"]


class Nectar(Collection):
    """Ranks 1 (best) to 7 become scores 7 to 1: 8 - rank. They order the completions of one prompt and say no more."""

    kind: Literal["nectar"] = Field("nectar", description="berkeley-nest/Nectar.")
    path: str = Field("berkeley-nest/Nectar", description="Hub id, file or folder.")

    def ranks(self, reader: Reader, layout: Layout) -> tuple[float, float] | None:
        """Return 1 to 7, whatever part of the collection is read."""
        return RANKS
