"""Pairs: explicit and implicit prompts side by side, equal sides, preferences."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

from prefboost.sources import read
from prefboost.sources.faults import FAULT
from prefboost.sources.layouts import Layout
from prefboost.sources.pair_rows import pair_rows, preference_rows
from prefboost.sources.raw import ROW


def chat(*contents: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(contents)]


def test_explicit_and_implicit_prompts_may_stand_in_one_file() -> None:
    frame = pl.DataFrame(
        {
            ROW: [0, 1],
            "prompt": ["p", "other"],
            "chosen": [[{"role": "assistant", "content": "a"}], chat("q", "a")],
            "rejected": [[{"role": "assistant", "content": "b"}], chat("q", "b")],
        }
    )
    rows = pair_rows(frame, Layout("pairs", {part: part for part in ("prompt", "chosen", "rejected")}))
    assert rows[FAULT].null_count() == 2
    assert [row[0]["content"] for row in rows["prompt"]] == ["p", "q"]
    assert [row[0]["content"] for row in rows["chosen"]] == ["a", "a"]


def test_equal_sides_and_missing_scores_are_faults() -> None:
    frame = pl.DataFrame(
        {ROW: [0, 1], "prompt": ["p"] * 2, "chosen": ["a", "a"], "rejected": ["a", "b"], "x": [1, None], "y": [2, 2]}
    )
    parts = {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected", "score_chosen": "x", "score_rejected": "y"}
    rows = pair_rows(frame, Layout("pairs", parts))
    assert rows[FAULT].to_list() == ["the two completions are the same", "the score_chosen of the pair is missing"]


def test_an_index_or_a_sign_says_which_side_is_preferred() -> None:
    frame = pl.DataFrame({ROW: [0, 1, 2], "p": ["x"] * 3, "a": ["A"] * 3, "b": ["B"] * 3, "v": [0, 1, 7]})
    parts = {"prompt": "p", "first": "a", "second": "b", "preference": "v"}
    by_index = preference_rows(frame, Layout("preference", {**parts, "reads": "index"}))
    assert [row[0]["content"] for row in by_index["chosen"]][:2] == ["A", "B"]
    assert by_index[FAULT].to_list() == [None, None, "the preference of the pair names neither completion (a tie)"]
    by_sign = preference_rows(frame, Layout("preference", {**parts, "reads": "sign"}))
    assert by_sign[FAULT].null_count() == 2


def test_why_each_side_ended_is_read_where_the_file_says_it() -> None:
    frame = pl.DataFrame({ROW: [0], "prompt": ["p"], "chosen": ["a"], "rejected": ["b"], "x": ["max_tokens"]})
    parts = {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected", "finish_chosen": "x"}
    rows = pair_rows(frame, Layout("pairs", parts))
    assert (rows["finish_chosen"].to_list(), "finish_rejected" in rows.columns) == (["length"], False)


def test_a_label_names_the_better_of_two_and_anything_else_is_a_tie(tmp_path: Path) -> None:
    path = tmp_path / "judged.jsonl"
    rows = [{"question": f"q{label}", "response_a": "a", "response_b": "b", "label": label} for label in (0, 1, -1)]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    table = read(path)
    assert [row[0]["content"] for row in table.frame["chosen"]] == ["a", "b"]
    assert table.rejects["reason"].to_list() == ["the preference of the pair names neither completion (a tie)"]


def test_synthetic_pairs_keep_probability_weight_and_lineage_and_need_no_scores(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    row = {"prompt": "p", "chosen": "a", "rejected": "b", "score_chosen": None, "score_rejected": None}
    rows = [
        {**row, "chosen_wins": 0.75, "pair_weight": 2, "lineage": '{"method": "rlaif"}'},
        {**row, "prompt": "q", "chosen_wins": None, "pair_weight": None, "lineage": None},
        {**row, "prompt": "r", "chosen_wins": 1.5, "pair_weight": 1, "lineage": None},
    ]
    path.write_text("".join(json.dumps(each) + "\n" for each in rows))
    table = read(path)
    assert table.frame.select("chosen_wins", "pair_weight", "lineage").rows() == [
        (0.75, 2.0, '{"method": "rlaif"}'),
        (None, None, None),
    ]
    assert table.rejects["reason"].to_list() == ["the chosen_wins of the pair is not between 0 and 1"]
