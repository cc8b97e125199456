"""What a scorer is: completions in, the same completions with scores out, one completion at a time."""

from __future__ import annotations

from typing import Protocol

from prefboost.scoring.rules_scorer import RulesScorer
from prefboost.settings import Settings
from prefboost.tables import Table

__all__ = ["SCORERS", "Scorer"]


class Scorer(Protocol):
    """Attaches a score to each completion without looking at others of the same prompt (pointwise)."""

    def score(self, table: Table) -> Table:
        """Score every completion.

        Args:
            table: Completions or ScoredCompletions (whose scores are replaced).

        Returns:
            ScoredCompletions with the scale of the scores in ``scales``; rows that cannot be scored are rejects.
        """


SCORERS: dict[str, type[Settings]] = {"rules": RulesScorer}
"""Built-in scorers, kind -> settings."""
