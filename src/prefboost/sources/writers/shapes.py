"""Rows in the shape of each trainer: expressions that select and rename columns of a conditioned `GOAL_PAIRS` frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from prefboost.sources.messages.keys import is_read

__all__ = [
    "ONE_ANSWER",
    "ONLY_TEXT",
    "SAME_TRIMMED",
    "TURNS",
    "Refusal",
    "has_read_extra",
    "has_white_ends",
    "select_role_and_content",
    "shape_axolotl",
    "shape_llamafactory",
    "shape_ms_swift",
    "shape_nemo_rl",
    "shape_open_instruct",
    "shape_openrlhf",
    "shape_prefboost",
    "shape_tinker",
    "shape_trl",
    "shape_trl_completions",
]

SIDES = ("prompt", "chosen", "rejected")
FINISH = ("finish_chosen", "finish_rejected")
IDS = ("goal_pair_id", "pair_id", "prompt_id", "view", "flipped")


@dataclass(frozen=True)
class Refusal:
    """Rows that a trainer would misread: why, and the expression that finds them."""

    reason: str
    holds: Callable[[], pl.Expr]


WHITE = "".join(chr(code) for code in range(0x3001) if chr(code).isspace())
"""White space as Python and the templates' ``trim`` understand it."""


def has_white_ends() -> pl.Expr:
    """Tell whether white space stands before or behind the text of a completion."""
    texts = [pl.col(side).list.last().struct.field("content") for side in ("chosen", "rejected")]
    return pl.any_horizontal([text != text.str.strip_chars(WHITE) for text in texts])


def has_read_extra(column: str) -> pl.Expr:
    """Tell whether any message of the row has more than its text, such as tool calls; notes do not count."""
    return pl.col(column).list.eval(is_read(pl.element().struct.field("extra"))).list.any()


def _select_facts(columns: list[str]) -> list[pl.Expr]:
    """Select scores, goals, ids and why completions ended, which trainers ignore unless asked."""
    scores = [name for name in columns if name.partition(".")[0] in ("score_chosen", "score_rejected", "goal")]
    return [pl.col(name) for name in (*scores, *IDS, *FINISH, "source", "split") if name in columns]


def select_role_and_content(column: str) -> pl.Expr:
    """Select messages without ``extra``: structs of role and content."""
    keys = [pl.element().struct.field("role"), pl.element().struct.field("content")]
    return pl.col(column).list.eval(pl.struct(keys))


def _join_conversation(side: str) -> pl.Expr:
    """Join the prompt and a completion to one list of messages."""
    return pl.concat_list(select_role_and_content("prompt"), select_role_and_content(side)).alias(side)


_SHAREGPT = {"system": "system", "user": "human", "assistant": "gpt", "tool": "observation"}


def _convert_to_sharegpt(column: str) -> pl.Expr:
    who = pl.element().struct.field("role").replace_strict(_SHAREGPT, return_dtype=pl.String)
    return pl.col(column).list.eval(pl.struct(who.alias("from"), pl.element().struct.field("content").alias("value")))


def _select_text(column: str) -> pl.Expr:
    return pl.col(column).list.last().struct.field("content").alias(column)


def _lacks_alternation() -> pl.Expr:
    """Tell whether user (or tool) and assistant turns, after the system message, do not alternate."""
    role = pl.element().struct.field("role")
    asks = role.filter(role != "system").is_in(["user", "tool"])
    odd = pl.int_range(pl.len()).filter(role != "system") - (role == "system").sum()
    return ~pl.col("prompt").list.eval(asks == (odd % 2 == 0)).list.all()


ONLY_TEXT = Refusal(
    "this trainer keeps only role and content of a message: tool calls would be lost",
    lambda: pl.any_horizontal(has_read_extra(column) for column in SIDES),
)
ONE_ANSWER = Refusal(
    "this trainer takes one message as completion, not several",
    lambda: (pl.col("chosen").list.len() != 1) | (pl.col("rejected").list.len() != 1),
)
SAME_TRIMMED = Refusal(
    "chosen and rejected differ only in the white space at their ends, which this trainer's templates cut off",
    lambda: _select_text("chosen").str.strip_chars(WHITE) == _select_text("rejected").str.strip_chars(WHITE),
)
TURNS = Refusal("this trainer needs user and assistant turns to alternate", _lacks_alternation)


def shape_prefboost(columns: list[str]) -> list[pl.Expr]:
    """Select every column."""
    return [pl.col(name) for name in columns]


def shape_trl(columns: list[str]) -> list[pl.Expr]:
    """Select prompt, chosen and rejected as lists of messages."""
    return [*[select_role_and_content(column) for column in SIDES], *_select_facts(columns)]


def shape_openrlhf(columns: list[str]) -> list[pl.Expr]:
    """Select prompt, chosen and rejected as lists of messages, and how much nearer the goal chosen is."""
    margin = (pl.col("distance_rejected") - pl.col("distance_chosen")).fill_null(0.0).alias("margin")
    return [*[select_role_and_content(column) for column in SIDES], margin, *_select_facts(columns)]


def shape_axolotl(columns: list[str]) -> list[pl.Expr]:
    """Select the prompt as ``messages``, and both completions as one trimmed message each."""
    last = {side: pl.col(side).list.last().struct for side in ("chosen", "rejected")}
    sides = [
        pl.struct(role=each.field("role"), content=each.field("content").str.strip_chars(WHITE)).alias(side)
        for side, each in last.items()
    ]
    return [select_role_and_content("prompt").alias("messages"), *sides, *_select_facts(columns)]


def shape_llamafactory(columns: list[str]) -> list[pl.Expr]:
    """Select sharegpt messages: the prompt as ``conversations``, and both completions as one message."""
    answers = [_convert_to_sharegpt(side).list.last().alias(side) for side in ("chosen", "rejected")]
    return [_convert_to_sharegpt("prompt").alias("conversations"), *answers, *_select_facts(columns)]


def shape_ms_swift(columns: list[str]) -> list[pl.Expr]:
    """Select two whole conversations, ``messages`` with the chosen completion and ``rejected_messages``.

    No margin: ms-swift's reward trainer would subtract it from the loss without being told to.
    """
    return [
        _join_conversation("chosen").alias("messages"),
        _join_conversation("rejected").alias("rejected_messages"),
        *_select_facts(columns),
    ]


def shape_open_instruct(columns: list[str]) -> list[pl.Expr]:
    """Select two whole conversations, which differ in their last message."""
    return [_join_conversation("chosen"), _join_conversation("rejected"), *_select_facts(columns)]


def shape_nemo_rl(columns: list[str]) -> list[pl.Expr]:
    """Select ``context`` and ``completions``: the rank says who wins under the goal, the reward is its own score."""
    completions = [
        pl.struct(
            rank=pl.lit(rank, pl.Int64),
            reward=pl.col(f"score_{side}"),
            completion=select_role_and_content(side),
        )
        for rank, side in enumerate(("chosen", "rejected"))
    ]
    return [
        select_role_and_content("prompt").alias("context"),
        pl.concat_list(completions).alias("completions"),
        *_select_facts(columns),
    ]


def shape_tinker(columns: list[str]) -> list[pl.Expr]:
    """Select labelled comparisons; the chosen completion is A, which tinker-cookbook's builders swap themselves."""
    comparison = pl.struct(
        prompt_conversation=select_role_and_content("prompt"),
        completion_A=select_role_and_content("chosen"),
        completion_B=select_role_and_content("rejected"),
    )
    return [comparison.alias("comparison"), pl.lit("A").alias("label"), *_select_facts(columns)]


def shape_trl_completions(columns: list[str]) -> list[pl.Expr]:
    """Select prompt and completion as lists of messages, of a frame of completions."""
    about = [name for name in columns if name.partition(".")[0] == "score"]
    about += [name for name in ("completion_id", "prompt_id", "finish_reason", "source", "split") if name in columns]
    return [
        select_role_and_content("prompt"),
        select_role_and_content("completion"),
        *(pl.col(name) for name in about),
    ]
