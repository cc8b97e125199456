from __future__ import annotations

from tables_of import pair_table, scored_table

from prefboost.diagnosis.slim import slim


def test_no_text_is_kept_and_every_row_is() -> None:
    table = scored_table([("a", [1.0, None]), ("b", [3.0])], {"wit": [1.0, 2.0, 3.0]})
    made = slim(table)
    assert made.height == len(table)
    assert made.columns == [
        "row", "prompt_id", "score", "score.wit", "prompt_hash", "prompt_chars",
        "completion_hash", "completion_chars", "completion_words",
    ]  # fmt: skip


def test_lengths_count_characters_and_words_of_what_is_said() -> None:
    row = slim(pair_table([(9, 1)])).row(0, named=True)
    assert (row["chosen_chars"], row["chosen_words"]) == (len("good 0"), 2)
