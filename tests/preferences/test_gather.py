"""Rows are told apart by their texts: one id a question, every row once, no question on both sides of a split."""

from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from tests.preferences.test_mix import pairs, said

from prefboost.preferences.gather import LEAKED, REPEATED, gather
from prefboost.tables import MESSAGES, PREFERENCE_PAIRS, SCORED_COMPLETIONS, Table, conform


def asking(*texts: str, split: list[str | None] | None = None, same: bool = False) -> Table:
    """One pair a text, each with a prompt_id of its own."""
    table = pairs("q", len(texts))
    prompts = pl.Series("prompt", [said("user", text) for text in texts], dtype=MESSAGES)
    frame = table.frame.with_columns(prompts, split=pl.Series(split or [None] * len(texts), dtype=pl.String))
    if same:
        frame = frame.with_columns(pl.col("chosen", "rejected").first())
    return Table(PREFERENCE_PAIRS, frame)


def test_prompts_that_differ_in_case_and_punctuation_alone_have_one_id() -> None:
    made = gather(asking("What is red?", "what is RED", "What is blue?"))
    assert made.frame["prompt_id"].to_list() == ["q0", "q0", "q2"] and made.rejects.is_empty()


def test_the_same_pair_under_another_prompt_id_stands_once() -> None:
    made = gather(asking("What is red?", "what is  red", "What is blue?", same=True))
    assert made.frame["pair_id"].to_list() == ["p0", "p2"]
    assert made.rejects["reason"].to_list() == [REPEATED] and made.steps[-1].rejected == {REPEATED: 1}


def test_prompts_without_words_are_told_apart_to_the_letter() -> None:
    assert gather(asking("?!", "!?", "?!")).frame["prompt_id"].to_list() == ["q0", "q1", "q0"]


def test_no_question_that_is_evaluated_on_is_trained_on() -> None:
    made = gather(asking("What is red?", "WHAT is red", "What is blue?", split=["train", "test", None]))
    assert made.frame["pair_id"].to_list() == ["p1", "p2"] and made.rejects["reason"].to_list() == [LEAKED]


def test_completions_with_other_scores_are_other_rows() -> None:
    rows = [
        {"row": n, "prompt_id": f"q{n}", "prompt": said("user", "Why?"), "completion_id": f"c{n}",
         "completion": said("assistant", "So."), "score": score}
        for n, score in enumerate((1.0, 2.0, 1.0))
    ]  # fmt: skip
    frame = pl.DataFrame(rows, schema_overrides={"prompt": MESSAGES, "completion": MESSAGES})
    made = gather(Table(SCORED_COMPLETIONS, conform(frame, SCORED_COMPLETIONS)))
    assert made.frame["score"].to_list() == [1.0, 2.0] and set(made.frame["prompt_id"]) == {"q0"}


@given(st.lists(st.sampled_from(["red", "Red!", "blue", "BLUE", "?"]), min_size=1, max_size=8))
def test_gathering_twice_changes_nothing(texts: list[str]) -> None:
    once = gather(asking(*texts, same=True))
    again = gather(once)
    assert again.frame.equals(once.frame) and len(once) + once.rejects.height == len(texts)
