"""The scorer protocol: completions in, the same completions with scores out, one completion at a time."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from prefboost.engines.call_session import CallSession
from prefboost.scoring.implicit import ImplicitReward
from prefboost.scoring.rater import Rater
from prefboost.scoring.regressor.scorer import RegressorScorer
from prefboost.scoring.reward_model import RewardModelScorer
from prefboost.scoring.rules.scorer import RulesScorer
from prefboost.settings import Settings
from prefboost.tables import Table

__all__ = ["SCORERS", "RangedScorer", "Scorer", "StoredScorer"]


class Scorer(Protocol):
    """Attaches a score to each completion without looking at others of the same prompt (pointwise)."""

    def score(self, table: Table) -> Table:
        """Score every completion.

        Args:
            table: Completions or ScoredCompletions (whose scores are replaced).

        Returns:
            ScoredCompletions with the scale of the scores in ``scales``; rows that cannot be scored are rejects.
        """


@runtime_checkable
class StoredScorer(Protocol):
    """A scorer that takes long: what it has finished is kept, so that an interrupted call loses nothing."""

    def score_stored(self, table: Table, session: CallSession) -> Table:
        """Score every completion.

        Args:
            table: see `Scorer`.
            session: its store holds what earlier calls have finished, and gets what is new.
        """


@runtime_checkable
class RangedScorer(Protocol):
    """A scorer that can declare the range of its scores before it gives any."""

    def find_range(self) -> tuple[float, float] | None:
        """Return the lowest and highest score; None where none is known."""


SCORERS: dict[str, type[Settings]] = {
    "rules": RulesScorer,
    "reward_model": RewardModelScorer,
    "implicit": ImplicitReward,
    "rater": Rater,
    "regressor": RegressorScorer,
}
"""Built-in scorers, kind -> settings."""
