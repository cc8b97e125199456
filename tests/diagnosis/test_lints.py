from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from tables_of import pair_scores, pair_table, said, scored_table

from prefboost.diagnosis.finding import Finding
from prefboost.diagnosis.lints import LINTS
from prefboost.diagnosis.row_digest import digest_rows
from prefboost.tables import MESSAGES, Table


def finding(name: str, table: Table) -> Finding | None:
    return LINTS[name](digest_rows(table))


def names_of(table: Table) -> list[str]:
    rows = digest_rows(table)
    return [name for name, lint in LINTS.items() if lint(rows) is not None]


def with_texts(table: Table, **columns: list[str]) -> Table:
    built = [
        pl.Series(name, [[said("user" if name == "prompt" else "assistant", text)] for text in texts], dtype=MESSAGES)
        for name, texts in columns.items()
    ]
    return replace(table, frame=table.frame.with_columns(built))


def test_clean_pairs_have_no_finding() -> None:
    table = with_texts(
        pair_table([(9, 1), (2, 1)]), chosen=["a fine answer", "short one"], rejected=["poor", "a longer answer"]
    )
    assert names_of(table) == []


def test_goal_pairs_as_augment_makes_them_have_no_finding(goal_table: Callable[..., Table]) -> None:
    table = goal_table(4)
    assert [name for name in names_of(table) if name != "score_follows_length"] == []


@given(pair_scores)
def test_a_finding_counts_rows_and_shows_some_of_them(pairs: list[tuple[float | None, float | None]]) -> None:
    rows = digest_rows(pair_table(pairs))
    for name, lint in LINTS.items():
        result = lint(rows)
        if result is not None:
            assert result.name == name
            assert 0 < result.count <= result.of <= len(pairs)
            assert len(result.examples) <= min(5, result.count)
            assert result.sentence and result.remedy


def test_a_ten_that_should_be_a_one_is_found() -> None:
    aspects = {name: [5.0, 1.0, 4.0, 1.0] for name in ("helpfulness", "honesty")}
    table = scored_table([("q", [9.0, 10.0, 8.0, 1.0])], aspects)
    result = finding("overall_contradicts_aspects", table)
    assert result is not None
    assert (result.count, result.rows) == (1, (1,))


def test_labels_against_their_scores_and_ties_are_counted() -> None:
    table = pair_table([(9, 1), (1, 9), (5, 5), (None, None)])
    wrong, tied = finding("contradictory_label", table), finding("ties", table)
    assert wrong is not None and (wrong.count, wrong.rows) == (1, (1,))
    assert tied is not None and (tied.count, tied.rows) == (1, (2,))


def test_a_pair_with_both_labels_is_found() -> None:
    table = with_texts(pair_table([(9, 1)] * 3), prompt=["q"] * 3, chosen=["a", "b", "a"], rejected=["b", "a", "c"])
    result = finding("both_orders", table)
    assert result is not None and result.rows == (0, 1)


def test_sides_that_differ_in_space_alone_are_found() -> None:
    table = with_texts(pair_table([(9, 1)] * 2), chosen=["yes", "yes"], rejected=[" yes\n", "no!"])
    result = finding("same_completions", table)
    assert result is not None and result.rows == (0,)
    assert finding("both_orders", table) is None


def test_one_completion_with_two_scores_is_found() -> None:
    table = with_texts(scored_table([("q", [1.0, 9.0, 4.0])]), completion=["the same", "the same", "another"])
    result = finding("same_text_other_score", table)
    assert result is not None and (result.count, result.rows) == (2, (0, 1))


def test_duplicates_and_near_empty_texts_are_found() -> None:
    table = with_texts(pair_table([(9, 1)] * 2), prompt=["q"] * 2, chosen=["a fine one"] * 2, rejected=[" x "] * 2)
    again, empty = finding("duplicates", table), finding("near_empty", table)
    assert again is not None and again.rows == (1,)
    assert empty is not None and empty.count == 2


def test_prompts_on_both_sides_of_a_split_are_found_whatever_their_case() -> None:
    table = with_texts(pair_table([(9, 1)] * 3), prompt=["One", "one!", "two"])
    table = replace(table, frame=table.frame.with_columns(split=pl.Series(["train", "test", "test"])))
    result = finding("split_overlap", table)
    assert result is not None and result.rows == (0, 1)


@pytest.mark.parametrize("table", [pair_table([(None, None)]), scored_table([("q", [None, None])])])
def test_missing_scores_name_the_remedy(table: Table) -> None:
    result = finding("no_scores", table)
    assert result is not None and "implicit rewards" in result.remedy


def test_completions_without_a_score_column_have_no_scores() -> None:
    from prefboost.tables import COMPLETIONS

    table = scored_table([("q", [None])])
    bare = Table(COMPLETIONS, table.frame.drop("score"))
    assert finding("no_scores", bare) is not None


def test_the_length_of_binary_pairs_is_held_against_their_label() -> None:
    table = with_texts(pair_table([(None, None)] * 2), chosen=["long answer"] * 2, rejected=["short"] * 2)
    result = finding("score_follows_length", table)
    assert result is not None
    assert "the longer completion is the chosen one in 100%" in result.sentence


def test_in_goal_pairs_the_length_is_held_against_the_score_not_the_label(goal_table: Callable[..., Table]) -> None:
    result = finding("score_follows_length", goal_table(3))
    assert result is not None
    assert "the longer completion has the higher score in 100%" in result.sentence


def test_a_goal_pair_that_points_away_from_its_goal_is_found(
    goal_table: Callable[..., Table], goal_row: Callable[..., dict[str, Any]]
) -> None:
    table = goal_table(3)
    wrong = table.frame.with_columns(goal=pl.when(pl.col("row") == 1).then(3.0).otherwise("goal"))
    result = finding("broken_fact", replace(table, frame=wrong))
    assert result is not None
    assert (result.count, result.rows) == (1, (1,))
    assert "at least as near the goal" in result.sentence


def test_goals_that_are_no_number_are_found(goal_table: Callable[..., Table]) -> None:
    table = goal_table(1)
    result = finding("broken_fact", replace(table, frame=table.frame.with_columns(goal=float("nan"))))
    assert result is not None and "finite" in result.sentence


def test_prompts_that_do_not_say_the_goal_are_found(goal_table: Callable[..., Table]) -> None:
    table = goal_table(2)
    unsaid = table.frame.with_columns(prompt=pl.col("prompt").list.slice(1))
    result = finding("goal_unsaid", replace(table, frame=unsaid))
    assert result is not None and result.count == 4


def test_goal_pairs_that_stand_twice_or_have_lost_their_other_view_are_found(goal_table: Callable[..., Table]) -> None:
    table = goal_table(2)
    half = finding("half_pairs", replace(table, frame=table.frame.head(3)))
    assert half is not None and half.count == 1
    twice = replace(table, frame=pl.concat([table.frame, table.frame.head(1)]))
    again = finding("repeated_goal_pair", twice)
    assert again is not None and again.count == 1


ENCODED = (
    '[{"role": "user", "content": "hi"}]',
    "[{'content': 'hi', 'role': 'user'}]",
    "<|im_start|>user\nhi<|im_end|>",
    "### Instruction:\nhi\n\n### Response:",
    "Human: hi\nAssistant:",
)


@pytest.mark.parametrize("text", ENCODED)
def test_texts_that_look_like_conversations_are_counted(text: str) -> None:
    plain = 'What does [{"role": "user"}] mean?'
    table = with_texts(pair_table([(9, 1), (2, 1)]), prompt=[text, plain])
    seen = finding("encoded_conversation", table)
    assert seen is not None and (seen.count, seen.severity) == (1, "warning")
    assert finding("encoded_conversation", with_texts(table, prompt=[plain, "hi"])) is None
