"""HelpSteer 1, 2 (nvidia/HelpSteer, nvidia/HelpSteer2: aspects 0-4) and 3 (nvidia/HelpSteer3: preferences)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from prefboost.sources.collection import Collection
from prefboost.sources.layouts.layout import Layout
from prefboost.sources.rows.scores import MARKED

__all__ = ["HelpSteer"]

PATHS = {1: "nvidia/HelpSteer", 2: "nvidia/HelpSteer2", 3: "nvidia/HelpSteer3"}


class HelpSteer(Collection):
    """Version 1 and 2: rows of one completion with helpfulness, correctness, coherence, complexity, verbosity.

    Version 3 has two completions and a preference from -3 to 3, and no score of either: its pairs are binary, a
    preference of 0 is rejected as a tie. How strong a preference is becomes the pair's weight, 1 to 3, in a reward
    model's loss (scaled Bradley-Terry, arXiv 2410.01257).
    """

    kind: Literal["helpsteer"] = Field("helpsteer", description="nvidia/HelpSteer, HelpSteer2 and HelpSteer3.")
    version: Literal[1, 2, 3] = Field(2, description="Number of the collection, of three, for the default path.")
    path: str = Field("", description="Hub id, file or folder; empty: the hub id of the version.")
    score: str = Field("helpfulness", description="Aspect that is the score (0-4), or mean; not used by version 3.")

    @model_validator(mode="before")
    @classmethod
    def _fill_path(cls, values: object) -> object:
        if not isinstance(values, dict) or values.get("path"):
            return values
        return {**values, "path": PATHS.get(values.get("version", 2), "")}

    def resolve_score(self, layout: Layout) -> str:
        """Choose the aspect where there are any: preferences have no scores to choose from."""
        return self.score if layout.aspects else "overall"

    def find_makers_range(self, layout: Layout) -> tuple[float, float] | None:
        """Return 0 to 4, of one aspect or of their mean; preferences have no scores."""
        return MARKED if layout.aspects else None
