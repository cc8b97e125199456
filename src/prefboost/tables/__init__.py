"""Declared tables: Polars frames with declared columns, declared facts, and every row that was rejected."""

from prefboost.tables.declared import (
    COMPLETIONS,
    EVALUATION_SPLITS,
    GOAL_PAIRS,
    ONE_WINNER,
    PREFERENCE_PAIRS,
    PROMPTS,
    SCORED_COMPLETIONS,
    TABLES,
    VERDICTS,
)
from prefboost.tables.frame_file import FrameFile
from prefboost.tables.pieces import RowPieces, StoredTable
from prefboost.tables.rejects import (
    REJECTS,
    count_reasons,
    order_by_reason,
    reject_coded,
    reject_faulty,
    reject_where,
)
from prefboost.tables.stored_rejects import RejectFile, StoredRejects
from prefboost.tables.table import (
    MESSAGE,
    MESSAGES,
    Column,
    Fact,
    Step,
    Table,
    TableSpec,
    aspects_of,
    check_fact,
    conform,
    refuse_other_tables,
    sum_part_steps,
)

__all__ = [
    "COMPLETIONS",
    "EVALUATION_SPLITS",
    "GOAL_PAIRS",
    "MESSAGE",
    "MESSAGES",
    "ONE_WINNER",
    "PREFERENCE_PAIRS",
    "PROMPTS",
    "REJECTS",
    "SCORED_COMPLETIONS",
    "TABLES",
    "VERDICTS",
    "Column",
    "Fact",
    "FrameFile",
    "RejectFile",
    "RowPieces",
    "Step",
    "StoredRejects",
    "StoredTable",
    "Table",
    "TableSpec",
    "aspects_of",
    "check_fact",
    "conform",
    "count_reasons",
    "order_by_reason",
    "refuse_other_tables",
    "reject_coded",
    "reject_faulty",
    "reject_where",
    "sum_part_steps",
]
