from __future__ import annotations

from collections.abc import Callable

import polars as pl
from tables_of import pair_table, scored_table

from prefboost.diagnosis.row_digest import digest_rows, list_score_columns
from prefboost.tables import Table


def test_no_text_is_kept_and_every_row_is() -> None:
    table = scored_table([("a", [1.0, None]), ("b", [3.0])], {"wit": [1.0, 2.0, 3.0]})
    built = digest_rows(table)
    assert built.height == len(table)
    assert built.columns == [
        "row", "score", "score.wit", "prompt_key", "prompt_hash", "prompt_chars", "prompt_words", "broken",
        "encoded", "completion_hash", "completion_chars", "completion_words",
    ]  # fmt: skip
    assert pl.String not in built.dtypes


def test_lengths_count_characters_and_words_of_what_is_said() -> None:
    row = digest_rows(pair_table([(9, 1)])).row(0, named=True)
    assert (row["chosen_chars"], row["chosen_words"]) == (len("good 0"), 2)


def test_goal_pairs_keep_their_goal_and_which_fact_they_break(goal_table: Callable[..., Table]) -> None:
    built = digest_rows(goal_table(1))
    assert built["goal"].to_list() == [7.0, 3.0]
    assert built["broken"].null_count() == 2
    assert built["exact_prompt"].n_unique() == built["goal_key"].n_unique() == 2
    assert built["pair_key"].n_unique() == 1


def test_score_columns_are_named_overall_first() -> None:
    assert list_score_columns(["score.b", "score", "score.a", "row"]) == ["score", "score.a", "score.b"]
