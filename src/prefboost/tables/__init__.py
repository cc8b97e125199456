"""Declared tables: Polars frames with declared columns, declared facts, and everything that was set aside."""

from prefboost.tables.declared import (
    COMPLETIONS,
    EVALUATION_SPLITS,
    GOAL_PAIRS,
    PREFERENCE_PAIRS,
    PROMPTS,
    SCORED_COMPLETIONS,
    TABLES,
    VERDICTS,
)
from prefboost.tables.table import (
    MESSAGE,
    MESSAGES,
    REJECTS,
    Column,
    Fact,
    Step,
    Table,
    TableSpec,
    aspects_of,
    conform,
    reject_where,
)

__all__ = [
    "COMPLETIONS",
    "EVALUATION_SPLITS",
    "GOAL_PAIRS",
    "MESSAGE",
    "MESSAGES",
    "PREFERENCE_PAIRS",
    "PROMPTS",
    "REJECTS",
    "SCORED_COMPLETIONS",
    "TABLES",
    "VERDICTS",
    "Column",
    "Fact",
    "Step",
    "Table",
    "TableSpec",
    "aspects_of",
    "conform",
    "reject_where",
]
