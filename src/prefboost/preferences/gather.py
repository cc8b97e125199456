"""`gather`: identify rows by their texts, keep each once, and keep each question on one side of a split."""

from __future__ import annotations

from collections import Counter

import polars as pl

from prefboost.preferences.likeness import build_exact_key, build_question_key, build_word_key
from prefboost.tables import EVALUATION_SPLITS, REJECTS, Step, Table, reject_where

__all__ = ["LEAKED", "REPEATED", "gather", "gather_frame"]

LEAKED = "the prompt is among the rows to evaluate on"
REPEATED = "the same prompt and completions stand further up, or in another part"

_TEXTS = ("chosen", "rejected", "completion")


def gather(table: Table) -> Table:
    """Identify rows for a reward model by their texts, whatever ids they came with.

    Args:
        table: PreferencePairs or ScoredCompletions; rows whose ``split`` is validation or test are evaluated on.

    Returns:
        The same kind of table. Prompts that differ in case, punctuation or system message alone have one
        ``prompt_id``, the first one's. Rejects are rows whose prompt (but for case and punctuation) and completions
        stood further up, with the same scores where they are completions, and rows to train on whose prompt is among
        those to evaluate on.
    """
    frame, rejects = gather_frame(table.frame, stage="gather", path=table.path)
    step = Step("gather", {}, len(table), frame.height, rejected=dict(Counter(rejects["reason"].to_list())))
    return table.derive(table.spec, frame, step, rejects=rejects)


def gather_frame(
    frame: pl.DataFrame, *, stage: str, path: str | None = None, questions: pl.Series | None = None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Apply `gather` to a frame.

    Args:
        frame: rows with a prompt.
        stage: the verb that the rejects are of.
        path: the file.
        questions: further questions to evaluate on, as `build_question_key` makes them.

    Returns:
        rows, and rejects.
    """
    names = frame.columns
    texts = [build_exact_key(name).alias(f"_{name}") for name in _TEXTS if name in names]
    scores = [name for name in names if name.partition(".")[0] == "score"]
    frame = frame.with_columns(
        build_question_key().alias("_question"), build_word_key("prompt").alias("_prompt"), *texts
    )
    frame = frame.with_columns(prompt_id=pl.col("prompt_id").first().over("_question"))
    keys = ["_prompt", *[f"_{name}" for name in _TEXTS if name in names], *scores]
    # Completions with other scores are other judgements of the same text, so scores are part of the key.
    again = ~pl.struct(keys).is_first_distinct()
    frame, repeated = reject_where(frame, again, stage=stage, reason=REPEATED, path=path)
    evaluated = pl.col("split").is_in(EVALUATION_SPLITS).fill_null(False) if "split" in names else pl.lit(False)
    asked_elsewhere = pl.lit(False) if questions is None else pl.col("_question").is_in(questions.implode())
    leaks = (evaluated.any().over("_question") | asked_elsewhere) & ~evaluated
    frame, leaked = reject_where(frame, leaks, stage=stage, reason=LEAKED, path=path)
    return frame.select(names), pl.concat([pl.DataFrame(schema=REJECTS), repeated, leaked])
