"""Tables without scores: refuse them, and suggest columns of their source that hold numbers and may be the score."""

from __future__ import annotations

from prefboost.errors import MissingScores, Place
from prefboost.tables import PREFERENCE_PAIRS, Table, aspects_of

__all__ = ["NUMBERS", "refuse_unscored_completions", "suggest_score_column"]

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


def refuse_unscored_completions(table: Table, use: str) -> None:
    """Refuse completions of which none has a score.

    Args:
        table: ScoredCompletions.
        use: what the scores are needed for, as a participle for the message, e.g. ``preferred``.

    Raises:
        MissingScores: names the aspects that have scores, where there are any.
    """
    if not len(table) or any(frame["score"].null_count() < frame.height for frame in table.read_frames(["score"])):
        return
    aspects = aspects_of(table.schema, "score")
    remedy = "name the score's column (columns.score=NAME), or score the completions first"
    if aspects:
        remedy = (
            f"the aspects {', '.join(aspects)} are scored: take one of them (data.score={aspects[0]}) or their mean "
            "(data.score=mean) for the score"
        )
    raise MissingScores(
        f"no completion has a score, so none can be {use}", remedy=remedy, place=Place(path=table.path, column="score")
    )
