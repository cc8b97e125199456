"""Later records are read by their own layout, or are rejects; none is read without its parts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prefboost.diagnosis import inspect
from prefboost.preferences.scales.kinds import MinMax
from prefboost.runs.augment.augment import Augment, augment
from prefboost.sources import Columns, read, read_batches
from prefboost.sources.layouts import sample
from prefboost.sources.layouts.fitted import add_later_parts, list_seen_columns
from prefboost.sources.layouts.layout import Layout

FIRST = [{"prompt": f"q{n // 2}", "completion": f"a{n}", "score": n % 3} for n in range(2_002)]


def written(path: Path, later: list[dict[str, Any]]) -> Path:
    path.write_text("\n".join(map(json.dumps, [*FIRST, *later])), encoding="utf-8")
    return path


def later_rows(path: Path) -> pl.DataFrame:
    return read(path).frame.filter(pl.col("row") >= len(FIRST))


def test_a_system_message_that_only_later_records_have_is_kept(tmp_path: Path) -> None:
    rows = [{"prompt": "q", "completion": f"b{n}", "score": n, "system": "pirate" if n else ""} for n in range(3)]
    texts = [[m["content"] for m in row] for row in later_rows(written(tmp_path / "a.jsonl", rows))["prompt"].to_list()]
    assert texts == [["q"], ["pirate", "q"], ["pirate", "q"]]


PARTS = {
    "prompt": ["prompt", "instruction", "question"],
    "completion": ["completion", "response", "output"],
    "score": ["score", "rating", "reward"],
}
OTHERS = ({}, {"system": "s"}, {"history": [["a", "b"]]}, {"note": "n"}, {"source": "x"}, {"input": ""})


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(*(st.sampled_from(names) for names in PARTS.values()), st.sampled_from(OTHERS)),
        min_size=1,
        max_size=6,
    ),
    size=st.sampled_from([None, 1, 4]),
)
def test_columns_of_other_names_are_read_alike(tmp_path: Path, rows: list[Any], size: int | None) -> None:
    records = [
        {prompt: f"later {n}", completion: f"b{n}", score: n, **other}
        for n, (prompt, completion, score, other) in enumerate(rows)
    ]
    # The guess is made from eight records instead of 2,000, so that batches of one record are few.
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, [*FIRST[:8], *records])), encoding="utf-8")
    with patch.object(sample, "SAMPLE_ROWS", 8):
        tables = list(read_batches(tmp_path / "a.jsonl", rows=size))
    frame = pl.concat([t.frame for t in tables]).filter(pl.col("row") >= 8).sort("row")
    assert sum(t.rejects.height for t in tables) == 0
    assert [row[-1]["content"] for row in frame["prompt"].to_list()] == [f"later {n}" for n in range(len(rows))]
    assert frame["score"].to_list() == list(range(len(rows)))
    systems = [row[0]["content"] == "s" for row in frame["prompt"].to_list()]
    assert systems == ["system" in other for *_, other in rows]


ODD: list[tuple[dict[str, Any], str]] = [
    (
        {"prompt": "q", "chosen": "a", "rejected": "b"},
        "the record has another shape (pairs) than the first ones (flat)",
    ),
    (
        {"prompt": "q", "completion": "a", "score": 1, "helpfulness": 3},
        "the record has a part that the first ones lack: helpfulness",
    ),
    (
        {"prompt": "q", "completion": "a", "score": 1, "split": "test"},
        "the record has a part that the first ones lack: split",
    ),
    (
        {"prompt": "q", "completions": [{"text": "a", "score": 1}]},
        "the record has another shape (nested) than the first ones (flat)",
    ),
]


@pytest.mark.parametrize(("record", "reason"), ODD)
def test_what_does_not_fit_is_a_reject_with_its_row(record: dict[str, Any], reason: str, tmp_path: Path) -> None:
    table = read(written(tmp_path / "a.jsonl", [record]))
    assert table.rejects.select("row", "reason").rows() == [(len(FIRST), reason)]
    assert len(table) == len(FIRST)


def test_ignored_columns_and_those_without_a_meaning_change_nothing(tmp_path: Path) -> None:
    record = {"prompt": "q", "completion": "a", "score": 1, "split": "test", "zip": "x", "notes_to_self": "y"}
    path = written(tmp_path / "a.jsonl", [record])
    assert len(read(path, columns=Columns(ignore=("split",)))) == len(FIRST) + 1


def test_scores_that_come_late_are_no_binary_pairs(tmp_path: Path) -> None:
    pairs = {"prompt": "q", "chosen": "a", "rejected": "b"}
    rows = [{**pairs, "score_chosen": None, "score_rejected": None}] * 2_001
    frame = pl.DataFrame([*rows, {**pairs, "score_chosen": 2.0, "score_rejected": 1.0}], infer_schema_length=None)
    frame.write_parquet(tmp_path / "a.parquet")
    table = read(tmp_path / "a.parquet")
    assert table.rejects["row"].to_list() == [2_001]
    assert table.rejects["reason"][0] == "the record has a part that the first ones lack: score_chosen"


def test_columns_for_later_parts_are_not_shown_and_columns_of_nulls_are_not_seen() -> None:
    layout = add_later_parts(Layout("flat", {"prompt": "p", "completion": "c"}))
    assert (layout.parts["system"], layout.further) == ("__system__", ("__further__",))
    assert layout.describe() == {"shape": "flat", "prompt": "p", "completion": "c"}
    sample = pl.DataFrame({"p": [None], "x": [None], "y": [1]})
    assert list_seen_columns(sample, layout) == {"p", "y"}


def test_completions_that_get_scores_later_are_not_read_without_them(tmp_path: Path) -> None:
    first = [{"prompt": f"q{n}", "completions": [{"text": "a", "note": "x"}, {"text": "b"}]} for n in range(2_001)]
    later = {"prompt": "q", "completions": [{"text": "a", "score": 1}, {"text": "b", "score": 2}]}
    noted = {"prompt": "r", "completions": [{"text": "a", "remark": "fine"}]}
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, [*first, later, noted])), encoding="utf-8")
    for tables in ([read(path)], list(read_batches(path, rows=700))):
        rejects = pl.concat([table.rejects for table in tables])
        reason = "the record has a part that the first ones lack: score"
        assert rejects.select("row", "reason").rows() == [(2_001, reason)]
        assert 2_002 in pl.concat([table.frame for table in tables])["row"]


NESTED = [
    {"prompt": f"q{n}", "completions": [{"text": f"a{n}", "score": 2}, {"text": f"b{n}", "score": 1}]}
    for n in range(2_001)
]


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(
        st.tuples(
            st.sampled_from(["prompt", "question"]),
            st.sampled_from(["completions", "responses"]),
            st.sampled_from(["text", "response", "output"]),
            st.sampled_from(["score", "rating", "overall"]),
        ),
        min_size=1,
        max_size=4,
    ),
    size=st.sampled_from([None, 700]),
)
def test_fields_of_other_names_inside_completions_are_read_alike(
    tmp_path: Path, names: list[tuple[str, str, str, str]], size: int | None
) -> None:
    later = [
        {prompt: f"later {n}", outer: [{text: f"c{n}", score: n}, {text: f"d{n}", score: n + 1, "note": "x"}]}
        for n, (prompt, outer, text, score) in enumerate(names)
    ]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, [*NESTED, *later])), encoding="utf-8")
    tables = list(read_batches(path, rows=size))
    assert sum(table.rejects.height for table in tables) == 0
    frame = pl.concat([table.frame for table in tables]).filter(pl.col("row") >= len(NESTED)).sort("row")
    assert frame["score"].to_list() == [n + more for n in range(len(names)) for more in (0, 1)]
    texts = [row[0]["content"] for row in frame["completion"].to_list()]
    assert texts == [f"{letter}{n}" for n in range(len(names)) for letter in "cd"]


def test_what_later_records_were_read_as_is_said(tmp_path: Path) -> None:
    later = [
        {"question": "x", "completion": "a", "rating": 1},
        {"question": "x", "completion": "b", "rating": 2, "system": "s"},
        {"question": "y", "completion": "d", "rating": 4},
    ]
    path = written(tmp_path / "a.jsonl", later)
    first = len(FIRST)
    said = [
        f"prompt=question score=rating (2 from row {first:,} on)",
        f"prompt=question system=system score=rating (1 from row {first + 1:,} on)",
    ]
    for guess in (read(path).steps[0].notes["guess"], inspect(path).mapping, augment(path, tmp_path / "o.jsonl").guess):
        assert sorted(guess["later records"]) == sorted(said)
    nested = tmp_path / "b.jsonl"
    renamed = {"prompt": "x", "completions": [{"response": "a", "rating": 1}, {"response": "b", "rating": 2}]}
    nested.write_text("\n".join(map(json.dumps, [*NESTED, renamed])), encoding="utf-8")
    said = [f"completion=response score=rating (1 from row {len(NESTED):,} on)"]
    assert inspect(nested).mapping["later records"] == said
    assert "later records" not in inspect(written(tmp_path / "c.jsonl", [])).mapping


def test_scores_of_later_files_under_other_names_count_for_the_scale(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    pl.DataFrame(FIRST).write_parquet(tmp_path / "in" / "a.parquet")
    later = [{"prompt": f"r{n // 2}", "completion": f"c{n}", "rating": 70.0 - n % 2} for n in range(4)]
    pl.DataFrame(later).write_parquet(tmp_path / "in" / "b.parquet")
    report = augment(tmp_path / "in", tmp_path / "out.jsonl", Augment(scale=MinMax()))
    assert "fitted as min_max to source scores 0 to 70" in report.scale
    assert report.records == len(FIRST) + 4


def test_a_batch_whose_completions_hold_nothing_known_is_rejected_row_by_row(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    odd = {"prompt": "x", "completions": [{"response": None, "rating": None}]}
    path.write_text("\n".join(map(json.dumps, [*NESTED, odd])), encoding="utf-8")
    for tables in ([read(path)], list(read_batches(path, rows=667))):
        rejects = pl.concat([table.rejects for table in tables])
        assert rejects["row"].to_list() == [len(NESTED)]
