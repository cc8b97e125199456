"""Skywork-Reward-Preference-80K: pairs of whole conversations, without scores."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from prefboost.sources.collection import Collection

__all__ = ["Skywork"]


class Skywork(Collection):
    """The prompt is the beginning that both conversations share. Magpie rows have scores elsewhere; none are here."""

    kind: Literal["skywork"] = Field("skywork", description="Skywork/Skywork-Reward-Preference-80K-v0.2.")
    path: str = Field("Skywork/Skywork-Reward-Preference-80K-v0.2", description="Hub id, file or folder.")
