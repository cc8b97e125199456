"""HH-RLHF (Anthropic/hh-rlhf, arXiv 2204.05862): pairs of transcripts, without scores."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from prefboost.sources.collection import Collection

__all__ = ["HhRlhf"]


class HhRlhf(Collection):
    """Transcripts ``\\n\\nHuman: ... \\n\\nAssistant: ...`` whose last assistant turn differs.

    Pairs that part before the last turn are rejected: the two sides answer different prompts.
    """

    kind: Literal["hh_rlhf"] = Field("hh_rlhf", description="Anthropic/hh-rlhf.")
    path: str = Field("Anthropic/hh-rlhf", description="Hub id, file or folder.")
