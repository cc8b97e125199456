"""Columns that could be the score, scores that are objects, and texts of one form, read where it is certain."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.errors import DataError
from prefboost.sources import Columns, File, read, read_batches
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


def write(path: Path, texts: list[Any]) -> Path:
    rows = [{"prompt": f"q{at // 2}", "completion": f"a{at}", "score": text} for at, text in enumerate(texts)]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@given(st.lists(st.integers(0, 20), min_size=1, max_size=6), st.integers(1, 100), st.sampled_from(["/", " / ", " /"]))
def test_fractions_of_one_denominator_are_their_numerators(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[int], of: int, mark: str
) -> None:
    path = write(tmp_path_factory.mktemp("f") / "a.jsonl", [f"{number}{mark}{of}" for number in numbers])
    table = read(path)
    assert table.frame["score"].to_list() == numbers and table.rejects.is_empty()
    assert table.steps[0].notes["guess"]["scores read as"] == {"score": f"so many of {of}"}


@pytest.mark.parametrize("rows", [None, 1])
def test_a_later_fraction_of_another_denominator_is_a_reject(rows: int | None, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [*["8/10"] * 2500, "3/5", "N/A"])
    tables = list(read_batches(path, rows=rows and 500))
    assert sum(len(table) for table in tables) == 2500
    reasons = [reason for table in tables for reason in table.rejects["reason"]]
    assert len(reasons) == 2 and any("is a fraction" in reason for reason in reasons)


def test_a_decimal_comma_is_read_where_it_cannot_part_thousands(tmp_path: Path) -> None:
    table = read(write(tmp_path / "a.jsonl", ["7,5", "8", "1,234", "-0,25"]))
    assert table.frame["score"].to_list() == [7.5, 8.0, 1.234, -0.25]
    assert table.steps[0].notes["guess"]["scores read as"] == {"score": "decimal comma"}


@pytest.mark.parametrize("later", ["7.5", "1.234", ".5", 7.5])
@pytest.mark.parametrize("rows", [None, 500])
def test_a_later_point_in_a_column_of_decimal_commas_is_rejected_as_it_stands(
    later: Any, rows: int | None, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.jsonl", [*["7,5", "8"] * 1250, later, "9,25", 7])
    tables = list(read_batches(path, rows=rows))
    assert [score for table in tables for score in table.frame["score"].to_list()][-1] == 7.0
    rejects = [row for table in tables for row in table.rejects.iter_rows(named=True)]
    points = [row for row in rejects if "has a point, which may part thousands" in row["reason"]]
    assert [(row["row"], float(row["found"])) for row in points] == [(2500, float(later))]


def test_what_is_rejected_shows_the_text_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", ["8/10"] * 3 + ["99/10"])
    rejects = read(File(path=str(path), score_range=(0.0, 10.0))).rejects
    assert rejects["found"].to_list() == ["99/10"]


@pytest.mark.parametrize(
    "texts, wrong",
    [
        (["8/10", "3/5"], "is a fraction"),
        (["8/10", "7"], "is a fraction"),
        (["1,234", "2,500"], "has a comma, which may part thousands"),
        (["7,5", "7.5"], "has a comma"),
        (["4 stars", "5 stars"], "is a number with a word"),
        (["85%", "90 %"], "is a percentage"),
        (["good", "bad"], "is not a number"),
    ],
)
def test_what_is_not_certain_is_rejected_by_name(texts: list[str], wrong: str, tmp_path: Path) -> None:
    rejects = read(write(tmp_path / "a.jsonl", texts)).rejects
    assert wrong in rejects["reason"][0] and rejects["found"][0] == texts[0]


def test_scores_inside_of_completions_and_in_lists_are_read_too(tmp_path: Path) -> None:
    nested = [{"text": "a", "score": "8/10"}, {"text": "b", "score": "2/10"}]
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"prompt": "q", "completions": nested}))
    assert read(path).frame["score"].to_list() == [8.0, 2.0]
    path.write_text(json.dumps({"prompt": "q", "responses": ["a", "b"], "scores": ["7,5", "3,25"]}))
    assert read(path).frame["score"].to_list() == [7.5, 3.25]
    aspects = [{"prompt": "q", "completion": text, "score": "7,5", "honesty": text} for text in ("1,5", "2")]
    path.write_text("\n".join(map(json.dumps, aspects)))
    assert read(path).frame["score.honesty"].to_list() == [1.5, 2.0]
    sides = {"response_a": "a", "response_b": "b", "score_a": "2/10", "score_b": "8/10"}
    path.write_text(json.dumps({"prompt": "q", **sides}))
    assert read(path).frame.select("score_chosen", "score_rejected").row(0) == (8.0, 2.0)
    path.write_text(
        json.dumps({"prompt": "q", "chosen": "a", "rejected": "b", "score_chosen": "8/10", "score_rejected": "3/10"})
    )
    assert read(path).frame.select("score_chosen", "score_rejected").row(0) == (8.0, 3.0)
