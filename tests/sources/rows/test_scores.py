"""Numbers out of score columns, and the ranks that a source counts by."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prefboost.preferences import pair
from prefboost.preferences.scales.fit import find_declared_range
from prefboost.runs.augment.augment import Augment, augment
from prefboost.sources import File, Nectar, read, read_batches
from prefboost.sources.rows.scores import (
    MARKED_ASPECTS,
    choose_score,
    find_range_faults,
    get_rank_score_range,
    guess_score_range,
    parse_scores,
)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1))
def test_text_and_numbers_give_the_same_scores(values: list[float]) -> None:
    numbers, _ = parse_scores(pl.Series("s", values))
    texts, fault = parse_scores(pl.Series("s", [f" {value!r} " for value in values]))
    assert numbers.to_list() == texts.to_list() == values
    assert fault.null_count() == len(values)


def test_what_is_not_rated_is_null_and_what_is_no_number_is_a_fault() -> None:
    scores, fault = parse_scores(pl.Series("s", ["N/A", "5", "good", "inf", None]))
    assert scores.to_list()[:3] == [None, 5, None]
    assert fault.to_list() == [None, None, "is not a number", "is not a finite number", None]


def test_float32_is_read_as_the_decimal_it_was_printed_from() -> None:
    assert parse_scores(pl.Series("s", [6.62], dtype=pl.Float32))[0].to_list() == [6.62]


def test_ranks_turn_round() -> None:
    assert parse_scores(pl.Series("s", [1, 7]), ranks=(1, 7))[0].to_list() == [7, 1]
    assert parse_scores(pl.Series("s", [0, 3]), ranks=(0, 3))[0].to_list() == [4, 1]
    assert get_rank_score_range((0, 3)) == get_rank_score_range((1, 4)) == (1, 4)


def test_the_mean_leaves_out_what_is_not_rated() -> None:
    frame = pl.DataFrame(
        {"score": [None], "score.a": [1.0], "score.b": [None]}, schema_overrides={"score.b": pl.Float64}
    )
    assert choose_score(frame, "mean")["score"].to_list() == [1]
    assert choose_score(frame, "a")["score"].to_list() == [1]


def test_the_range_is_closed() -> None:
    frame = pl.DataFrame({"score": [0.9, 1.0, 10.0, 10.1, None]})
    assert find_range_faults(frame, "score", (1, 10)).is_null().to_list() == [False, True, True, False, True]


def test_names_tell_the_range_of_ranks_and_of_helpsteers_five_aspects() -> None:
    assert guess_score_range({"rank": "rank"}, (), "overall") == (1, 7)
    five = dict.fromkeys(MARKED_ASPECTS, "")
    assert guess_score_range({"score": "helpfulness"}, five, "overall") == guess_score_range({}, five, "mean") == (0, 4)
    assert guess_score_range({"score": "quality"}, five, "overall") is None
    assert guess_score_range({"score": "score"}, ("helpfulness", "verbosity"), "helpfulness") is None


@pytest.mark.parametrize("spelled", [[9.0], [True], ["7"], "[9.0]", "[ 9 ]", "true", "False", True])
def test_lists_of_one_number_and_truth_values_are_numbers(spelled: object) -> None:
    scores, faults = parse_scores(pl.Series("s", [spelled, spelled]))
    assert faults.null_count() == 2
    assert set(scores) <= {9.0, 7.0, 1.0, 0.0} and scores.null_count() == 0


@pytest.mark.parametrize("spelled", [[1.0, 2.0], "[1, 2]", "yes", [[1.0, 2.0]], {"a": 1}])
def test_what_holds_no_single_number_is_none(spelled: object) -> None:
    assert parse_scores(pl.Series("s", [spelled]))[1].to_list() == ["is not a number"]


def nested(prompt: int, ranks: list[int]) -> list[dict[str, Any]]:
    answers = [{"answer": f"a{rank}", "rank": rank} for rank in ranks]
    return [{"prompt": f"q{prompt}", "answers": answers}]


def parallel(prompt: int, ranks: list[int]) -> list[dict[str, Any]]:
    return [{"prompt": f"q{prompt}", "answers": [f"a{rank}" for rank in ranks], "rank": ranks}]


def flat(prompt: int, ranks: list[int]) -> list[dict[str, Any]]:
    return [{"prompt": f"q{prompt}", "completion": f"a{rank}", "rank": rank} for rank in ranks]


@pytest.mark.parametrize("shape", [nested, parallel, flat])
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=st.sampled_from([0, 1]), most=st.integers(2, 12), rows=st.integers(1, 5))
def test_the_best_rank_is_the_top_of_the_scale_wherever_counting_begins(
    tmp_path: Path, shape: Any, first: int, most: int, rows: int
) -> None:
    path = tmp_path / "d.jsonl"
    ranks = list(range(first, first + most))
    records = [record for prompt in range(3) for record in shape(prompt, ranks[prompt % 2 :])]
    path.write_text("\n".join(map(json.dumps, records)))
    table = read(path)
    assert table.rejects.is_empty()
    assert find_declared_range(table) == (1.0, float(most))
    best = table.frame.filter(table.frame["score"] == most)["completion"].list.first().struct.field("content")
    assert set(best) == {f"a{first}"}
    assert table.frame["score"].min() == 1
    parts = [dict(part.frame.select("completion_id", "score").iter_rows()) for part in read_batches(path, rows=rows)]
    assert {k: v for part in parts for k, v in part.items()} == dict(
        table.frame.select("completion_id", "score").iter_rows()
    )


def test_ranks_from_0_lose_no_best_and_the_report_says_how_they_were_read(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text("\n".join(json.dumps(record) for prompt in range(5) for record in nested(prompt, [0, 1, 2, 3])))
    report = augment(path, tmp_path / "out", Augment())
    assert (report.pairs, report.rejects) == (5, ())
    assert report.guess["ranks"] == "0 (best) to 3, turned round"
    assert report.scale.startswith("1 (lowest) to 4 (highest)")
    assert set(pair(read(path)).frame["score_chosen"]) == {4.0}


def test_nectar_has_seven_ranks_whatever_part_of_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text(json.dumps(nested(0, [1, 2, 3])[0]))
    assert read(Nectar(path=str(path))).frame["score"].to_list() == [7, 6, 5]
    assert read(File(path=str(path))).frame["score"].to_list() == [3, 2, 1]


def test_equal_ranks_alone_tell_nothing_and_refuse_nothing(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text(json.dumps(nested(0, [1, 1])[0]))
    assert read(path).frame["score"].n_unique() == 1
