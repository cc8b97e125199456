from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from tables_of import pair_scores, pair_table, prompt_scores, said, scored_table

from prefboost.diagnosis.length_cue import measure_length_cue
from prefboost.diagnosis.row_digest import digest_rows
from prefboost.tables import MESSAGES


def with_lengths(lengths: list[int]) -> pl.Series:
    return pl.Series("completion", [[said("assistant", "a" * length)] for length in lengths], dtype=MESSAGES)


def test_it_is_one_when_the_longer_always_wins() -> None:
    frame = scored_table([("q", [1.0, 2.0, 3.0, 4.0])]).frame.with_columns(with_lengths([3, 5, 9, 30]))
    from prefboost.tables import SCORED_COMPLETIONS, Table

    cue = measure_length_cue(digest_rows(Table(SCORED_COMPLETIONS, frame)))
    assert (cue.share, cue.rho, cue.prompts) == (1.0, pytest.approx(1.0), 1)


def test_prompts_alone_have_no_cue() -> None:
    assert measure_length_cue(digest_rows(scored_table([("q", [1.0])])).drop("score")).share is None


@given(prompt_scores)
def test_shares_are_of_decided_pairs(prompts: list[tuple[str, list[float | None]]]) -> None:
    cue = measure_length_cue(digest_rows(scored_table(prompts)))
    assert (cue.share is None) == (cue.decided == 0)
    assert cue.share is None or 0 <= cue.share <= 1


@given(pair_scores)
def test_pairs_of_equal_lengths_decide_nothing(pairs: list[tuple[float | None, float | None]]) -> None:
    rows = digest_rows(pair_table(pairs)).with_columns(rejected_chars=pl.col("chosen_chars"))
    assert measure_length_cue(rows).decided == 0
