"""A scorer that knows lengths alone, for tests: what it gives can be worked out by hand."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from prefboost.chat import join_text
from prefboost.scoring.sides import Scores, list_scored_items, with_scores
from prefboost.settings import Settings
from prefboost.tables import Table


class LengthScorer(Settings):
    """Characters of the completion, times ``sign``; longer ones than ``limit`` are set aside."""

    kind: Literal["length_scorer:LengthScorer"] = "length_scorer:LengthScorer"
    sign: float = 1.0
    limit: int = 10**9
    drift: float = Field(0.0, description="Added for every row of the table: what no scorer should do.")

    def score(self, table: Table) -> Table:
        scores = Scores()
        for item in list_scored_items(table):
            length = len(join_text(item.completion))
            if length > self.limit:
                scores.faults[item.row, item.side] = ("the conversation is longer than the model can see", str(length))
            else:
                scores.values[item.row, item.side] = [
                    self.sign * length + self.drift * len(table) * (item.side == "chosen")
                ]
        notes: dict[str, Any] = {}
        return with_scores(table, scores, self.model_dump(mode="json"), notes, None)
