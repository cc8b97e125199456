"""The tables of prefboost, in the order in which data pass through them."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from prefboost.tables.message_lists import compare_messages, count_distinct
from prefboost.tables.table import MESSAGES, Column, Fact, TableSpec, aspects_of

__all__ = [
    "COMPLETIONS",
    "EVALUATION_SPLITS",
    "GOAL_PAIRS",
    "ONE_WINNER",
    "PREFERENCE_PAIRS",
    "PROMPTS",
    "SCORED_COMPLETIONS",
    "TABLES",
    "VERDICTS",
]

_ROW = Column("row", pl.Int64, "record number in the file the row came from, from 0")
_PROMPT_ID = Column(
    "prompt_id", pl.String, "equal for equal prompts alone: the source's id where it agrees, or a hash of the messages"
)
_GIVEN_ID = Column(
    "given_prompt_id",
    pl.String,
    "the source's id of the prompt, where some of its ids disagree with the prompts",
    required=False,
    nullable=True,
)
_PROMPT = Column("prompt", MESSAGES, "messages up to the completion; the last is a user or tool turn")
_SOURCE = Column("source", pl.String, "which collection the prompt is from", required=False, nullable=True)
EVALUATION_SPLITS = ("validation", "test")
"""Values of the column ``split`` that mark rows to measure on, never to train on."""

_SPLIT = Column("split", pl.String, "train, validation or test", required=False, nullable=True)
_RULES = Column("rules", pl.String, "JSON list of checkable rules the prompt asks for", required=False, nullable=True)

PROMPTS = TableSpec("Prompts", "Prompts to complete.", (_ROW, _PROMPT_ID, _PROMPT, _RULES, _SOURCE, _SPLIT, _GIVEN_ID))

_COMPLETION_COLUMNS = (
    _ROW,
    _PROMPT_ID,
    _PROMPT,
    Column("completion_id", pl.String, "unique within the table"),
    Column("completion", MESSAGES, "assistant turn(s) that answer the prompt"),
    Column("model", pl.String, "who wrote it", required=False, nullable=True),
    Column("goal", pl.Float64, "the score its writer was asked for", required=False, nullable=True),
    Column("goal.*", pl.Float64, "the score of an aspect its writer was asked for", required=False, nullable=True),
    Column("finish_reason", pl.String, "stop: it came to an end; length: it was cut", required=False, nullable=True),
    Column("tokens", pl.Int64, "tokens its writer generated", required=False, nullable=True),
    Column("reasoning", pl.String, "what its writer thought before it; no content", required=False, nullable=True),
    _RULES,
    _SOURCE,
    _SPLIT,
    _GIVEN_ID,
)

_RATED_BY_LOGPROBS = "probability of all ratings together, where a rater read log-probs"

COMPLETIONS = TableSpec("Completions", "Completions without scores.", _COMPLETION_COLUMNS, key="completion_id")

SCORED_COMPLETIONS = TableSpec(
    "ScoredCompletions",
    "Several completions of a prompt, each with a score (higher is better) and possibly aspects.",
    (
        *_COMPLETION_COLUMNS,
        Column("score", pl.Float64, "overall score; null where only aspects, or nothing, are known", nullable=True),
        Column("score.*", pl.Float64, "score of one aspect; null is not rated", required=False, nullable=True),
        Column("shown_at", pl.Int64, "its place, from 0, where a rater saw several", required=False, nullable=True),
        Column("label_mass", pl.Float64, _RATED_BY_LOGPROBS, required=False, nullable=True),
    ),
    (
        Fact(
            "scores are finite or null",
            lambda schema: pl.all_horizontal(
                pl.col("score").is_finite(), *[pl.col(f"score.{a}").is_finite() for a in aspects_of(schema, "score")]
            ),
        ),
    ),
    key="completion_id",
)

_PAIR_COLUMNS = (
    _ROW,
    Column("pair_id", pl.String, "unique within the table; both goal views of a pair share it (one training unit)"),
    _PROMPT_ID,
    _PROMPT,
    Column("chosen", MESSAGES, "the preferred completion"),
    Column("rejected", MESSAGES, "the other completion"),
    Column("score_chosen", pl.Float64, "score of the chosen completion; null in binary data", nullable=True),
    Column("score_rejected", pl.Float64, "score of the rejected completion; null in binary data", nullable=True),
    Column("score_chosen.*", pl.Float64, "aspect score of the chosen completion", required=False, nullable=True),
    Column("score_rejected.*", pl.Float64, "aspect score of the rejected completion", required=False, nullable=True),
    Column("finish_chosen", pl.String, "finish_reason of the chosen completion", required=False, nullable=True),
    Column("finish_rejected", pl.String, "finish_reason of the rejected completion", required=False, nullable=True),
    _SOURCE,
    _SPLIT,
    _GIVEN_ID,
)


def _within(schema: Mapping[str, pl.DataType], column: str, highest: float | None) -> pl.Expr:
    """Test that numbers of an optional column are finite, from 0, and up to ``highest``."""
    if column not in schema:
        return pl.lit(True)
    return pl.col(column).is_finite() & (pl.col(column) >= 0.0) & (pl.col(column) <= (highest or float("inf")))


_DIFFERENT = Fact("the two completions differ", lambda _: ~compare_messages("chosen", "rejected"))

PREFERENCE_PAIRS = TableSpec(
    "PreferencePairs",
    "A prompt and two completions, the first preferred. One prompt column serves both sides.",
    (
        *_PAIR_COLUMNS,
        Column(
            "chosen_wins", pl.Float64, "probability that chosen is the better; null: certain", required=False,
            nullable=True,
        ),
        Column("label_mass_chosen", pl.Float64, _RATED_BY_LOGPROBS, required=False, nullable=True),
        Column("label_mass_rejected", pl.Float64, _RATED_BY_LOGPROBS, required=False, nullable=True),
        Column("pair_weight", pl.Float64, "weight in a reward model's loss; null: 1", required=False, nullable=True),
        Column("lineage", pl.String, "JSON: how a synthetic pair came about", required=False, nullable=True),
    ),
    (
        _DIFFERENT,
        Fact("chosen_wins lies between 0 and 1", lambda schema: _within(schema, "chosen_wins", 1.0)),
        Fact("pair_weight is not negative", lambda schema: _within(schema, "pair_weight", None)),
    ),
    key="pair_id",
)  # fmt: skip


def _nearer(schema: Mapping[str, pl.DataType]) -> pl.Expr:
    """Test that chosen is at least as near the goal as rejected (arXiv 2410.08067, R(x, y, g) = -(g - r(x, y))^2).

    The distances themselves are stored by `relabel`, since they depend on its aspect weights and masks; here they are
    held against each other, and against the scores where there is a single goal.
    """
    stored = pl.col("distance_chosen") <= pl.col("distance_rejected")
    if aspects_of(schema, "goal"):
        return stored
    recomputed = (pl.col("goal") - pl.col("score_chosen")).abs() <= (pl.col("goal") - pl.col("score_rejected")).abs()
    return stored.fill_null(True) & recomputed.fill_null(True)


def _finite(schema: Mapping[str, pl.DataType]) -> pl.Expr:
    """Test that scores and goal are finite."""
    # Every comparison with NaN is true in Polars, so the next fact would let it pass.
    numbers = ["goal", "distance_chosen", "distance_rejected", *[f"goal.{a}" for a in aspects_of(schema, "goal")]]
    return pl.all_horizontal(pl.col(name).is_finite().fill_null(True) for name in numbers)


GOAL_PAIRS = TableSpec(
    "GoalPairs",
    "Preference pairs under a goal: whichever completion's score is nearer to the goal is the chosen one.",
    (
        Column("goal_pair_id", pl.String, "unique within the table: pair_id/view"),
        *_PAIR_COLUMNS,
        Column("view", pl.String, "chosen (goal = r_w), rejected (goal = r_l), grid, top, tie or plain"),
        Column("flipped", pl.Boolean, "whether the completions changed sides against the source pair"),
        Column("goal", pl.Float64, "the score asked for, on the fitted scale; null: plain control", nullable=True),
        Column("goal.*", pl.Float64, "asked for aspect", required=False, nullable=True),
        Column("distance_chosen", pl.Float64, "(weighted) |goal - score| of chosen; null: no goal", nullable=True),
        Column("distance_rejected", pl.Float64, "(weighted) |goal - score| of rejected", nullable=True),
    ),
    (
        _DIFFERENT,
        Fact("goals and distances are finite or null", _finite),
        Fact("the chosen completion is at least as near the goal as the rejected one", _nearer),
    ),
    key="goal_pair_id",
)


ONE_WINNER = Fact(
    "under one prompt, as it reads, one completion of a pair wins",
    lambda _: count_distinct("flipped", "pair_id", "prompt") == 1,
)
"""A fact of goal pairs once their goals stand in the prompts (`condition`): goals are printed rounded, so that two
different ones can read alike. Before, the views of a pair share one prompt and differ in the goal alone.
"""


VERDICTS = TableSpec(
    "Verdicts",
    "Verdicts of a judge on pairs: two rows per pair, one for each order in which its completions are shown.",
    (
        Column("verdict_id", pl.String, "unique within the table: pair_id/side that was shown first"),
        _ROW,
        Column("pair_id", pl.String, "the pair that was judged"),
        _PROMPT_ID,
        _PROMPT,
        Column("shown_first", pl.String, "chosen or rejected: the side, as the data call it, that was shown first"),
        Column("first", MESSAGES, "the completion that was shown first"),
        Column("second", MESSAGES, "the completion that was shown second"),
        Column("length_first", pl.Int64, "characters of the first"),
        Column("length_second", pl.Int64, "characters of the second"),
        Column("verdict", pl.String, "first, second or tie"),
        Column(
            "first_wins", pl.Float64, "probability, or share of votes, of the first; null: not known", nullable=True
        ),
        Column("rationale", pl.String, "why, in the judge's words", nullable=True),
        Column(
            "label_mass",
            pl.Float64,
            "probability of all verdicts together, where log-probs were read",
            required=False,
            nullable=True,
        ),
        Column("judge", pl.String, "who judged"),
        _SOURCE,
        _SPLIT,
    ),
    (
        Fact("a verdict is first, second or tie", lambda _: pl.col("verdict").is_in(["first", "second", "tie"])),
        Fact(
            "every pair is judged in both orders, once each",
            lambda _: (
                (pl.len().over("pair_id") == 2)
                & (pl.col("shown_first").n_unique().over("pair_id") == 2)
                & pl.col("shown_first").is_in(["chosen", "rejected"])
            ),
        ),
        Fact("probabilities lie between 0 and 1", lambda _: pl.col("first_wins").is_between(0.0, 1.0)),
        Fact(
            "no verdict is for the less likely side",
            lambda _: (
                (pl.col("verdict") == "tie")
                | ((pl.col("verdict") == "first") & (pl.col("first_wins") > 0.5))
                | ((pl.col("verdict") == "second") & (pl.col("first_wins") < 0.5))
            ),
        ),
    ),
    key="verdict_id",
)

TABLES = {
    spec.name: spec for spec in (PROMPTS, COMPLETIONS, SCORED_COMPLETIONS, PREFERENCE_PAIRS, GOAL_PAIRS, VERDICTS)
}
"""Every declared table by name."""
