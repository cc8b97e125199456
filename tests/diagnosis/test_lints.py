from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
from tables_of import pair_table, said, scored_table

from prefboost.diagnosis.lints import LINTS, Finding, length_cue
from prefboost.diagnosis.slim import slim
from prefboost.tables import MESSAGES, Table


def finding(name: str, table: Table) -> Finding | None:
    return LINTS[name](slim(table))


def with_texts(table: Table, **columns: list[str]) -> Table:
    made = [
        pl.Series(name, [[said("user" if name == "prompt" else "assistant", text)] for text in texts], dtype=MESSAGES)
        for name, texts in columns.items()
    ]
    return replace(table, frame=table.frame.with_columns(made))


def test_clean_pairs_have_no_finding() -> None:
    table = with_texts(
        pair_table([(9, 1), (2, 1)]), chosen=["a fine answer", "short one"], rejected=["poor", "a longer answer"]
    )
    assert [name for name, lint in LINTS.items() if lint(slim(table))] == []


def test_a_ten_that_should_be_a_one_is_found() -> None:
    aspects = {name: [5.0, 1.0, 4.0, 1.0] for name in ("helpfulness", "honesty")}
    table = scored_table([("q", [9.0, 10.0, 8.0, 1.0])], aspects)
    found = finding("overall_contradicts_aspects", table)
    assert found is not None
    assert (found.count, found.rows) == (1, (1,))


def test_labels_against_their_scores_and_ties_are_counted() -> None:
    table = pair_table([(9, 1), (1, 9), (5, 5), (None, None)])
    wrong, tied = finding("contradictory_label", table), finding("ties", table)
    assert wrong is not None and (wrong.count, wrong.rows) == (1, (1,))
    assert tied is not None and (tied.count, tied.rows) == (1, (2,))


def test_a_pair_with_both_labels_is_found() -> None:
    table = with_texts(pair_table([(9, 1)] * 3), prompt=["q"] * 3, chosen=["a", "b", "a"], rejected=["b", "a", "c"])
    found = finding("both_orders", table)
    assert found is not None and found.rows == (0, 1)


def test_duplicates_and_near_empty_texts_are_found() -> None:
    table = with_texts(pair_table([(9, 1)] * 2), prompt=["q"] * 2, chosen=["a fine one"] * 2, rejected=[" x "] * 2)
    again, empty = finding("duplicates", table), finding("near_empty", table)
    assert again is not None and again.rows == (1,)
    assert empty is not None and empty.count == 2


def test_prompts_on_both_sides_of_a_split_are_found_whatever_their_case() -> None:
    table = with_texts(pair_table([(9, 1)] * 3), prompt=["One", "one!", "two"])
    table = replace(table, frame=table.frame.with_columns(split=pl.Series(["train", "test", "test"])))
    found = finding("split_overlap", table)
    assert found is not None and found.rows == (0, 1)


def test_missing_scores_name_the_remedy() -> None:
    found = finding("no_scores", pair_table([(None, None)]))
    assert found is not None and "implicit rewards" in found.remedy


def test_the_length_cue_is_one_when_the_longer_always_wins() -> None:
    table = with_texts(scored_table([("q", [1.0, 2.0, 3.0, 4.0])]), completion=["a" * n for n in (3, 5, 9, 30)])
    assert length_cue(slim(table)) == (1.0, pytest.approx(1.0))
    found = finding("score_follows_length", table)
    assert found is not None and "longer" in found.sentence
