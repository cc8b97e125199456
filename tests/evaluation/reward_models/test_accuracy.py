from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from length_scorer import LengthScorer
from tables_of import said

from prefboost.errors import DataError
from prefboost.evaluation.reward_models.accuracy import (
    RewardAccuracy,
    measure_batch_change,
    name_slices,
    report_accuracy,
)
from prefboost.statistics import Bootstrap
from prefboost.tables import MESSAGES, PREFERENCE_PAIRS, Table, conform

QUICK = RewardAccuracy(interval=Bootstrap(resamples=200))


def pairs(lengths, given=None, sources=None, aspects=None) -> Table:
    """Pairs whose completions have the given numbers of characters."""
    rows = [
        {
            "row": at, "pair_id": f"p{at}", "prompt_id": f"q{at // 2}", "prompt": [said("user", f"Q{at}")],
            "chosen": [said("assistant", "a" * one)], "rejected": [said("assistant", "b" * other)],
            "score_chosen": given[at][0] if given else None, "score_rejected": given[at][1] if given else None,
        }
        for at, (one, other) in enumerate(lengths)
    ]  # fmt: skip
    numbers = {"score_chosen": pl.Float64, "score_rejected": pl.Float64}
    frame = pl.DataFrame(
        rows, schema_overrides={**dict.fromkeys(("prompt", "chosen", "rejected"), MESSAGES), **numbers}
    )
    if sources:
        frame = frame.with_columns(source=pl.Series(sources))
    for name, values in (aspects or {}).items():
        frame = frame.with_columns(pl.Series(name, values, dtype=pl.Float64))
    return Table(PREFERENCE_PAIRS, conform(frame, PREFERENCE_PAIRS), path="made.parquet")


def report(table, scorer=None, settings=QUICK, **more):
    return report_accuracy(table, (scorer or LengthScorer()).score(table), settings, **more)


lengths = st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=2, max_size=12)


@given(lengths)
def test_taking_the_longer_is_what_a_length_scorer_reaches_and_its_reverse_is_the_rest(drawn):
    table = pairs(drawn)
    one, other = (
        report(table, LengthScorer(sign=sign), RewardAccuracy(interval=Bootstrap(resamples=100))) for sign in (1, -1)
    )
    expected = np.mean([(1 + np.sign(a - b)) / 2 for a, b in drawn])
    assert one.accuracy.estimate == pytest.approx(expected)
    assert one.longer.estimate == pytest.approx(expected)
    assert other.accuracy.estimate == pytest.approx(1 - expected)
    assert one.over_length.estimate == 0


def test_equal_scores_count_half_or_nothing():
    table = pairs([(5, 5), (9, 2)])
    assert report(table).accuracy.estimate == 0.75
    assert report(table, settings=QUICK.model_copy(update={"ties": "lose"})).accuracy.estimate == 0.5
    assert report(table).ties == 0.5


def test_slices_hold_every_pair_once_and_are_named_by_their_ends():
    table = pairs(
        [(30, 5), (5, 30), (10, 10), (12, 10)], given=[(9, 1), (3, 2), (5, 4), (8, 4)], sources=["x", "x", "y", "y"]
    )
    found = report(table).slices
    assert {name: one.estimate for name, one in found["source"].items()} == {"x": 0.5, "y": 0.75}
    assert {name: one.estimate for name, one in found["length"].items()} == {
        "below -50%": 0.0, "-10% to +10%": 0.5, "+10% to +50%": 1.0, "above +50%": 1.0,
    }  # fmt: skip
    for name in ("source", "length", "margin"):
        assert sum(one.rows for one in found[name].values()) == 4
    assert name_slices((0.0, 0.5)) == ["below +0%", "+0% to +50%", "above +50%"]


def test_an_aspect_is_held_against_its_own_better_side():
    aspects = {"score_chosen.depth": [1, 5, 3], "score_rejected.depth": [5, 1, 3]}
    found = report(pairs([(30, 5), (30, 5), (30, 5)], aspects=aspects)).slices["aspect"]["depth"]
    assert (found.estimate, found.rows) == (0.5, 2)  # the pair that does not differ says nothing


def test_pairs_without_scores_are_counted_bound_the_share_and_withhold_it():
    table = pairs([(9, 1), (99, 1), (1, 9)])
    found = report(table, LengthScorer(limit=50))
    assert found.accuracy is None
    assert found.missing == {"the conversation is longer than the model can see": 1}
    assert found.bounds == (pytest.approx(1 / 3), pytest.approx(2 / 3))
    allowed = report(table, LengthScorer(limit=50), QUICK.model_copy(update={"allow_missing": True}))
    assert allowed.accuracy.estimate == 0.5
    assert "withheld" in "\n".join(found.lines()) and "1 without scores" in "\n".join(found.lines())


def test_the_place_in_the_data_is_a_baseline_where_it_is_known():
    table = pairs([(9, 1), (1, 9)])
    assert report(table).first is None
    found = report(table, chosen_first={"p0": True, "p1": True})
    assert found.first.estimate == 1
    assert "not known" in "\n".join(report(table).lines())


def test_scores_that_say_how_sure_they_are_are_calibrated():
    rng = np.random.default_rng(0)
    gaps = rng.integers(-3, 4, 600)
    chosen_longer = rng.random(600) < 1 / (1 + np.exp(-np.abs(gaps)))
    table = pairs(
        [(10 + abs(int(g)), 10) if up else (10, 10 + abs(int(g))) for g, up in zip(gaps, chosen_longer, strict=True)]
    )
    assert report(table).calibration.error < 0.06
    assert report(table, LengthScorer(sign=20)).calibration.error > 0.1


def test_scores_that_depend_on_the_batch_are_noticed():
    table = pairs([(9, 1), (3, 2), (5, 4), (7, 1)])
    steady, drifting = LengthScorer(), LengthScorer(drift=1.0)
    assert measure_batch_change(table, steady.score(table), steady, 4) == 0
    assert measure_batch_change(table, drifting.score(table), drifting, 4) > 0.1
    assert measure_batch_change(table, steady.score(table), steady, 1) is None
    assert "scores depend on the batch" in "\n".join(report(table, batch_change=0.5).lines())


def test_the_report_is_json_with_null_for_what_is_not_known():
    record = report(pairs([(9, 1)])).record()
    assert record["accuracy"]["low"] is None
    assert record["first"] is None


def test_tables_that_hold_no_pairs_are_refused(goal_table):
    goals = goal_table(2)
    with pytest.raises(DataError, match="accuracy needs PreferencePairs, found GoalPairs"):
        report_accuracy(goals, goals, QUICK)
