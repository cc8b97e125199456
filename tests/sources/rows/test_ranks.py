"""Ranks from 0 or 1, to any number: the best becomes the highest score, and none is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prefboost.preferences import pair
from prefboost.preferences.scales.fit import find_declared_range
from prefboost.runs.augment.augment import Augment, augment
from prefboost.sources import File, Nectar, read, read_batches


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
