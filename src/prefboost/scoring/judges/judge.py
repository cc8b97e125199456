"""The judge protocol: pairs in, verdicts out, each pair shown in both orders.

Whatever a judge owes to the order alone cancels where both verdicts stand side by side: that is why a pair that could
not be judged in one order is set aside in the other too.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from prefboost.engines.call_session import CallSession
from prefboost.scoring.judges.from_scorer import ScorerJudge
from prefboost.scoring.judges.llm import LlmJudge
from prefboost.settings import Settings
from prefboost.tables import Table

__all__ = ["JUDGES", "Judge", "StoredJudge"]


class Judge(Protocol):
    """Compares the two completions of every pair (pairwise)."""

    def judge(self, table: Table) -> Table:
        """Judge every pair in both orders.

        Args:
            table: PreferencePairs; which side is called chosen is the given label, and the judge does not see it.

        Returns:
            Verdicts, two a pair; pairs that could not be judged in both orders are rejects.
        """


@runtime_checkable
class StoredJudge(Protocol):
    """A judge that takes long: what it has finished is kept, so that an interrupted call loses nothing."""

    def judge_stored(self, table: Table, session: CallSession) -> Table:
        """Judge every pair.

        Args:
            table: see `Judge`.
            session: its store holds what earlier calls have finished, and gets what is new.
        """


JUDGES: dict[str, type[Settings]] = {"llm": LlmJudge, "scorer": ScorerJudge}
"""Built-in judges, kind -> settings."""
