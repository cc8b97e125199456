"""Winners before relabelling are those of the higher score; after it those nearer to the goal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from prefboost.reporting.run.record import RunRecord, TrainingRecord
from prefboost.reporting.run.relabelling import bin_together, build_relabelling_section, measure_sides, summarise_sides


def test_both_views_of_a_pair_are_one_pair_before_and_two_rows_after(goal_table: Callable[..., Any]) -> None:
    record = RunRecord("mine", {}, {"": TrainingRecord(pairs=goal_table(6).frame)})
    section = build_relabelling_section([record])
    assert section is not None
    before, after = section.tables[0].rows
    assert before[:5] == ("mine", "before", "6", "7.00", "3.00")
    assert after[:5] == ("mine", "after", "12", "5.00", "5.00")
    assert [plot.name for plot in section.plots] == ["winners-score", "winners-words"]


def test_runs_have_figures_of_their_own(goal_table: Callable[..., Any]) -> None:
    trainings = {
        "round 1": TrainingRecord(pairs=goal_table(2).frame),
        "round 2": TrainingRecord(pairs=goal_table(3).frame),
    }
    section = build_relabelling_section([RunRecord("mine", {}, trainings), RunRecord("other", {}, trainings)])
    assert section is not None and len({plot.name for plot in section.plots}) == 8


def test_nothing_is_compared_without_goal_pairs() -> None:
    assert build_relabelling_section([RunRecord("mine", {}, {"": TrainingRecord()})]) is None
    plain = pl.DataFrame({"pair_id": ["a"]})
    assert build_relabelling_section([RunRecord("mine", {}, {"": TrainingRecord(pairs=plain)})]) is None


def test_words_and_the_longer_side_are_counted(goal_row: Callable[..., Any], goal_table: Callable[..., Any]) -> None:
    long = [{"role": "assistant", "content": "three words here", "extra": None}]
    sides = measure_sides(goal_table([goal_row(0, chosen=long), goal_row(1)]).frame)
    assert sides["words_chosen"].to_list() == [3.0, 2.0]
    assert summarise_sides("mine", "after", sides)[-1] == "50"


def test_bins_are_shared_and_an_extreme_value_does_not_fill_them() -> None:
    bins = bin_together({"a": pl.Series([1.0] * 100 + [2.0] * 99 + [1_000.0]), "b": pl.Series([2.0, None])})
    assert list(bins["a"]) == list(bins["b"])
    assert sum(bins["a"].values()) == pytest.approx(100) and sum(bins["b"].values()) == pytest.approx(100)
    assert max(bins["a"].values()) == pytest.approx(50)
    assert bin_together({"a": pl.Series([None], dtype=pl.Float64)}) == {}
