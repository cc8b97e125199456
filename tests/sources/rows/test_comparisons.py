"""Two completions and what says which is better: signs, labels, words, flags and scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from prefboost.sources import read
from prefboost.sources.layouts.layout import Layout
from prefboost.sources.readers.raw import ROW
from prefboost.sources.rows.comparisons import convert_preferences
from prefboost.sources.rows.faults import FAULT


def test_an_index_or_a_sign_says_which_side_is_preferred() -> None:
    frame = pl.DataFrame({ROW: [0, 1, 2], "p": ["x"] * 3, "a": ["A"] * 3, "b": ["B"] * 3, "v": [0, 1, 7]})
    parts = {"prompt": "p", "first": "a", "second": "b", "preference": "v"}
    by_index = convert_preferences(frame, Layout("preference", {**parts, "reads": "index"}))
    assert [row[0]["content"] for row in by_index["chosen"]][:2] == ["A", "B"]
    assert by_index[FAULT].to_list() == [None, None, "the preference of the pair names neither completion (a tie)"]
    by_sign = convert_preferences(frame, Layout("preference", {**parts, "reads": "sign"}))
    assert by_sign[FAULT].null_count() == 2


def test_a_label_names_the_better_of_two_and_anything_else_is_a_tie(tmp_path: Path) -> None:
    path = tmp_path / "judged.jsonl"
    rows = [{"question": f"q{label}", "response_a": "a", "response_b": "b", "label": label} for label in (0, 1, -1)]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    table = read(path)
    assert [row[0]["content"] for row in table.frame["chosen"]] == ["a", "b"]
    assert table.rejects["reason"].to_list() == ["the preference of the pair names neither completion (a tie)"]


def talk(*contents: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(contents)]


PUBLISHED: dict[str, tuple[list[dict[str, Any]], list[Any], list[Any]]] = {
    "SHP": (
        [
            {"post_id": "x", "domain": "d", "history": "q", "human_ref_A": "a", "human_ref_B": "b", "labels": label,
             "score_A": 9 - 5 * (1 - label), "score_B": 5, "seconds_difference": 3.0}
            for label in (1, 0)
        ],
        ["a", "b"],
        [9, 5],
    ),
    "WebGPT": (
        [
            {"question": {"dataset": "eli5", "id": "1", "full_text": "q"}, "quotes_0": {"title": [], "extract": []},
             "answer_0": "a", "score_0": score, "quotes_1": {"title": [], "extract": []}, "answer_1": "b",
             "score_1": -score}
            for score in (0.5, -0.5, 0.0)
        ],
        ["a", "b"],
        [0.5, 0.5],
    ),
    "OffsetBias": (
        [{"instruction": "q", "output_1": "a", "output_2": "b", "label": label, "id": "x"} for label in (1, 2)],
        ["a", "b"],
        [None, None],
    ),
    "arena conversations": (
        [
            {"model_a": "m", "model_b": "n", "winner": winner, "conversation_a": talk("q", "a"),
             "conversation_b": talk("q", "b"), "turn": 1, "language": "English"}
            for winner in ("model_a", "model_b", "tie", "tie (bothbad)")
        ],
        ["a", "b"],
        [None, None],
    ),
    "arena competition": (
        [
            {"id": 1, "model_a": "m", "model_b": "n", "prompt": '["q"]', "response_a": '["a"]',
             "response_b": '["b"]', "winner_model_a": a, "winner_model_b": b, "winner_tie": 1 - a - b}
            for a, b in ((1, 0), (0, 1), (0, 0))
        ],
        ["a", "b"],
        [None, None],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_forms_are_read_without_a_word(name: str, tmp_path: Path) -> None:
    records, winners, scores = PUBLISHED[name]
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    table = read(path)
    assert [row[-1]["content"] for row in table.frame["chosen"].to_list()] == winners
    assert [[m["content"] for m in row] for row in table.frame["prompt"].to_list()] == [["q"], ["q"]]
    assert table.frame["score_chosen"].to_list() == scores
    assert set(table.rejects["reason"]) <= {"the preference of the pair names neither completion (a tie)"}
    assert len(table) + table.rejects.height == len(records)


def test_a_winner_in_unknown_words_is_a_reject(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    battle = {"conversation_a": talk("q", "a"), "conversation_b": talk("q", "b")}
    rows = [{**battle, "winner": winner} for winner in ("model_a", "the taller one")]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert read(path).rejects["reason"].to_list() == ["the preference of the pair is in words that are not known"]
