"""Columns that could be the score, and scores that are objects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from prefboost.errors import DataError
from prefboost.sources import Columns, read
from prefboost.sources.layouts.layout import guess
from prefboost.sources.layouts.score_columns import list_number_columns


@pytest.mark.parametrize(
    ("columns", "numbers"),
    [
        ({"stars": [4, 5]}, ["stars"]),
        ({"helpful_votes": ["4", "5.5"], "note": ["4", "x"]}, ["helpful_votes"]),
        ({"uid": [1, 2], "n_tokens": [3, 4], "created": [5, 6], "turn": [0, 1], "seed": [1, 1]}, []),
        ({"empty": [None, None], "flag": [True, False]}, []),
        ({"label": [True, False]}, ["label"]),
        ({"judged": [{"grade": 4, "seed": 1}, {"grade": 5, "seed": 2}]}, ["judged.grade"]),
    ],
)
def test_numbers_that_tell_how_good_are_listed(columns: dict[str, list[Any]], numbers: list[str]) -> None:
    frame = pl.DataFrame({"prompt": ["a", "b"], "completion": ["x", "y"], **columns}, strict=False)
    assert list_number_columns([frame], guess(frame, Columns(), "f")) == numbers


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_a_score_with_fields_is_refused_with_their_names(ending: str, tmp_path: Path) -> None:
    rows = [{"prompt": "q", "completion": f"a{n}", "score": {"alpha": 1.0 + n, "beta": 2.0}} for n in range(3)]
    path = tmp_path / f"in.{ending}"
    frame = pl.DataFrame(rows)
    frame.write_parquet(path) if ending == "parquet" else frame.write_ndjson(path)
    with pytest.raises(DataError, match=r"not a number, but has the fields alpha, beta\n.*columns\.score=score\.alpha"):
        read(path)
    assert read(path, columns=Columns(score="score.alpha")).frame["score"].to_list() == [1.0, 2.0, 3.0]


def test_so_are_scores_of_sides_and_of_nested_completions(tmp_path: Path) -> None:
    score = {"a": 1.0, "b": 2.0}
    sides = [{"prompt": "q", "chosen": "x", "rejected": "y", "score_chosen": score, "score_rejected": score}]
    nested = [{"prompt": "q", "completions": [{"text": "x", "score": score}, {"text": "y", "score": score}]}]
    for rows, part in ((sides, "score_chosen"), (nested, "score")):
        pl.DataFrame(rows).write_parquet(tmp_path / "in.parquet")
        with pytest.raises(DataError, match=rf"has the fields a, b\n.*columns\.{part}={part}\.a"):
            read(tmp_path / "in.parquet")
