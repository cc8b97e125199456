"""`gather`: rows by the question that they answer, each once, and no question on both sides of a split."""

from __future__ import annotations

from collections import Counter

import polars as pl

from prefboost.preferences.likeness import asked_text, exactly, worded
from prefboost.tables import EVALUATION_SPLITS, REJECTS, Step, Table, reject_where

__all__ = ["LEAKED", "REPEATED", "gather", "gathered"]

LEAKED = "the prompt is among the rows to evaluate on"
REPEATED = "the same prompt and completions stand further up, or in another part"

_TEXTS = ("chosen", "rejected", "completion")


def gather(table: Table) -> Table:
    """Rows for a reward model: told apart by their texts, whatever ids they came with.

    Args:
        table: PreferencePairs or ScoredCompletions; rows whose ``split`` is validation or test are evaluated on.

    Returns:
        The same kind of table. Prompts that differ in case, punctuation or system message alone have one
        ``prompt_id``, the first one's. Rejects are rows whose prompt (but for case and punctuation) and completions
        stood further up, with the same scores where they are completions, and rows to train on whose prompt is among
        those to evaluate on.
    """
    frame, rejects = gathered(table.frame, stage="gather", path=table.path)
    step = Step("gather", {}, len(table), frame.height, rejected=dict(Counter(rejects["reason"].to_list())))
    return table.derive(table.spec, frame, step, rejects=rejects)


def gathered(
    frame: pl.DataFrame, *, stage: str, path: str | None = None, asked: pl.Series | None = None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`gather` of a frame.

    Args:
        frame: rows with a prompt.
        stage: the verb that the rejects are of.
        path: the file.
        asked: further questions to evaluate on, as `asked_text` makes them.

    Returns:
        rows, and rejects.
    """
    names = frame.columns
    texts = [exactly(name).alias(f"_{name}") for name in _TEXTS if name in names]
    scores = [name for name in names if name.partition(".")[0] == "score"]
    frame = frame.with_columns(asked_text().alias("_question"), worded("prompt").alias("_prompt"), *texts)
    frame = frame.with_columns(prompt_id=pl.col("prompt_id").first().over("_question"))
    keys = ["_prompt", *[f"_{name}" for name in _TEXTS if name in names], *scores]
    again = ~pl.struct(keys).is_first_distinct()
    frame, repeated = reject_where(frame, again, stage=stage, reason=REPEATED, path=path)
    evaluated = pl.col("split").is_in(EVALUATION_SPLITS).fill_null(False) if "split" in names else pl.lit(False)
    known = pl.lit(False) if asked is None else pl.col("_question").is_in(asked.implode())
    leaks = (evaluated.any().over("_question") | known) & ~evaluated
    frame, leaked = reject_where(frame, leaks, stage=stage, reason=LEAKED, path=path)
    return frame.select(names), pl.concat([pl.DataFrame(schema=REJECTS), repeated, leaked])
