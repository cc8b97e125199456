"""Pairs: explicit and implicit prompts side by side, equal sides, prompts in several columns."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

from prefboost.sources import read
from prefboost.sources.layouts.layout import Layout
from prefboost.sources.readers.raw import ROW
from prefboost.sources.rows.faults import FAULT
from prefboost.sources.rows.pairs import convert_pairs


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
    rows = convert_pairs(frame, Layout("pairs", {part: part for part in ("prompt", "chosen", "rejected")}))
    assert rows[FAULT].null_count() == 2
    assert [row[0]["content"] for row in rows["prompt"]] == ["p", "q"]
    assert [row[0]["content"] for row in rows["chosen"]] == ["a", "a"]


def test_equal_sides_and_missing_scores_are_faults() -> None:
    frame = pl.DataFrame(
        {ROW: [0, 1], "prompt": ["p"] * 2, "chosen": ["a", "a"], "rejected": ["a", "b"], "x": [1, None], "y": [2, 2]}
    )
    parts = {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected", "score_chosen": "x", "score_rejected": "y"}
    rows = convert_pairs(frame, Layout("pairs", parts))
    assert rows[FAULT].to_list() == ["the two completions are the same", "the score_chosen of the pair is missing"]


def test_why_each_side_ended_is_read_where_the_file_says_it() -> None:
    frame = pl.DataFrame({ROW: [0], "prompt": ["p"], "chosen": ["a"], "rejected": ["b"], "x": ["max_tokens"]})
    parts = {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected", "finish_chosen": "x"}
    rows = convert_pairs(frame, Layout("pairs", parts))
    assert (rows["finish_chosen"].to_list(), "finish_rejected" in rows.columns) == (["length"], False)


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


def test_an_explicit_prompt_that_holds_more_than_the_sides_keeps_its_system_message(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    prompt = [{"role": "system", "content": "be brief"}, *chat("q")]
    path.write_text(json.dumps({"prompt": prompt, "chosen": chat("q", "a"), "rejected": chat("q", "b")}))
    roles = [[message["role"] for message in row] for row in read(path).frame["prompt"].to_list()]
    assert roles == [["system", "user"]]


def test_pairs_of_a_conversation_and_another_last_answer_share_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "swift.jsonl"
    row = {"messages": chat("q", "a", "r", "good"), "rejected_response": "bad"}
    path.write_text(json.dumps(row) + "\n" + json.dumps({**row, "rejected_response": "worse"}))
    frame = read(path).frame
    assert [[m["content"] for m in p] for p in frame["prompt"].to_list()] == [["q", "a", "r"]] * 2
    assert [[m["content"] for m in p] for p in frame["rejected"].to_list()] == [["bad"], ["worse"]]
