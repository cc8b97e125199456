"""Suggest a remedy for tables without scores: columns of their source that hold numbers and may be the score."""

from __future__ import annotations

from prefboost.tables import PREFERENCE_PAIRS, Table

__all__ = ["NUMBERS", "suggest_score_column"]

NUMBERS = "columns of numbers"
"""Note of the step ``read`` of a table without scores: columns that nothing was read from and that hold numbers."""


def suggest_score_column(table: Table) -> str:
    """Suggest which column to name as the score, ending in "; or "; empty where no column could be it."""
    names = [name for step in table.steps[:1] for name in step.notes.get(NUMBERS, ())]
    if not names:
        return ""
    listed = ", ".join(names[:8])
    if table.spec is PREFERENCE_PAIRS:
        if len(names) < 2:
            return ""
        return (
            f"if two of the columns {listed} hold the scores, name them: columns.score_chosen={names[0]} "
            f"columns.score_rejected={names[1]}; or "
        )
    which = "the column" if len(names) == 1 else "one of the columns"
    return f"if {which} {listed} holds the score, name it: columns.score={names[0]}; or "
