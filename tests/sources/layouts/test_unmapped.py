"""Columns that could belong to the question: found, counted, refused, mapped or ignored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from prefboost.errors import DataError
from prefboost.sources import Columns, File, read, read_batches
from prefboost.sources.layouts.layout import Layout
from prefboost.sources.layouts.unmapped import (
    UNMAPPED,
    count_unmapped,
    looks_like_question,
    suggest_remedy,
    sum_unmapped,
)
from prefboost.sources.readers.raw import ROW

QUESTION = (
    "context", "passage", "document", "retrieved_docs", "persona", "tool_list", "api_functions", "images", "image_path",
    "video", "history_text", "dialog", "system_info", "choices", "options", "knowledge", "few_shot_examples",
    "question", "user_message", "messages", "Background", "session-history", "input_text", "premise", "table",
)  # fmt: skip
ANSWERS = (
    "rationale", "feedback", "critique", "model", "id", "prompt_id", "generation_prompt", "labelling_prompt",
    "judge_context", "prompt_source", "source", "reference", "correct_answers", "original_prompt", "num_turns",
    "language", "domain", "category", "chosen_messages", "annotations", "conversation_hash", "prompt_length",
    "timestamp", "quotes_0",
)  # fmt: skip


def write(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    return path


def test_names_tell_what_may_belong_to_a_question() -> None:
    assert [name for name in QUESTION if not looks_like_question(name)] == []
    assert [name for name in ANSWERS if looks_like_question(name)] == []


@pytest.mark.parametrize("name", QUESTION)
@pytest.mark.parametrize("value", ["a text of its own", ["a", "list"], [{"role": "user", "content": "x"}]])
def test_a_column_of_the_question_is_refused_unless_ignored(name: str, value: Any, tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.jsonl", [{"prompt": f"q{n}", "completion": "c", "score": n, name: value} for n in (1, 2)]
    )
    with pytest.raises(DataError, match=r"may belong to the question.*in 2 records, first in row 0") as refusal:
        read(path)
    assert f"columns.ignore=[{name}]" in refusal.value.remedy
    assert next(iter(read_batches(path))).steps[0].notes[UNMAPPED] == {name: {"records": 2, "first": 0}}
    assert len(read(path, columns=Columns(ignore=(name,)))) == 2


@pytest.mark.parametrize("value", [None, "", "  ", [], {}, "[]", [None], [""], 7, True])
def test_columns_that_hold_nothing_or_numbers_are_no_fault(value: Any, tmp_path: Path) -> None:
    rows = [{"prompt": f"q{n}", "completion": "c", "score": n, "context": value} for n in (1, 2)]
    assert len(read(write(tmp_path / "a.jsonl", rows))) == 2


def test_copies_of_the_prompt_and_of_the_whole_conversation_are_no_fault(tmp_path: Path) -> None:
    asked, good = {"role": "user", "content": "what is it?"}, {"role": "assistant", "content": "this"}
    row = {"prompt": "what is it?", "question": "what is it?", "messages": [asked, good], "chosen": [asked, good],
           "rejected": [asked, {**good, "content": "that"}]}  # fmt: skip
    assert len(read(write(tmp_path / "a.jsonl", [row]))) == 1
    with pytest.raises(DataError, match="'question'"):
        read(write(tmp_path / "b.jsonl", [row, {**row, "question": "what else?"}]))


def test_alpaca_records_are_asked_whole_and_two_inputs_are_two_prompts(tmp_path: Path) -> None:
    rows = [
        {"instruction": "Add.", "input": f"{n // 2} + 1" if n < 4 else "", "output": f"o{n}", "score": n}
        for n in range(6)
    ]
    table = read(write(tmp_path / "a.jsonl", rows))
    texts = [row[0]["content"] for row in table.frame["prompt"].to_list()]
    assert texts == ["Add.\n0 + 1"] * 2 + ["Add.\n1 + 1"] * 2 + ["Add."] * 2
    assert table.frame["prompt_id"].n_unique() == 3
    assert table.steps[0].notes["guess"]["prompt"] == ["instruction", "input"]
    for size in (1, 2, 5):
        parts = [set(part.frame["prompt_id"]) for part in read_batches(File(path=str(table.path)), rows=size)]
        assert sum(map(len, parts)) == 3


def test_several_prompt_columns_can_be_named_in_any_order(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"q": "what?", "doc": "a text", "response": "r", "score": 1}])
    table = read(path, columns=Columns(prompt=("doc", "q")))
    assert table.frame["prompt"].to_list()[0][0]["content"] == "a text\nwhat?"
    lists = write(tmp_path / "b.jsonl", [{"q": "what?", "doc": ["a", "b"], "response": "r", "score": 1}])
    reason = read(lists, columns=Columns(prompt=("q", "doc"))).rejects["reason"].to_list()
    assert reason == ["the prompt has several columns, one of which is no text"]


def test_a_named_prompt_leaves_the_input_of_an_instruction_to_be_named_too(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"instruction": "Add.", "input": "1 + 1", "output": "2", "score": 1}])
    with pytest.raises(DataError, match="'input' may belong to the question"):
        read(path, columns=Columns(prompt="instruction"))


def test_counts_of_parts_add_up_and_name_the_first_row() -> None:
    frame = pl.DataFrame({ROW: [4, 5], "p": ["q", "q"], "context": ["x", "q"]})
    counts = count_unmapped(frame, Layout("flat", {"prompt": "p"}))
    assert counts == {"context": {"records": 1, "first": 4}}
    assert count_unmapped(frame, Layout("flat", {"prompt": "p"}, ignored=("context",))) == {}
    assert sum_unmapped([counts, {}, {"context": {"records": 2, "first": 1}}]) == {
        "context": {"records": 3, "first": 1}
    }


def test_the_remedy_names_columns_that_can_be_joined_but_no_images() -> None:
    assert "columns.prompt=[q,doc]" in suggest_remedy("doc", {"prompt": "q"})
    assert suggest_remedy("images", {"prompt": "q"}) == (
        "it is read by no model of text; leave it out on purpose: columns.ignore=[images]"
    )


def test_records_that_are_rejected_anyway_refuse_nothing(tmp_path: Path) -> None:
    rows = [{"prompt": "q", "completion": f"a{n}", "score": n, "image": None} for n in range(3)]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, [*rows, {**rows[0], "prompt": None, "image": "x.png"}])))
    assert read(path).rejects["row"].to_list() == [3]
    path.write_text("\n".join(map(json.dumps, [*rows, {**rows[0], "image": "x.png"}])))
    with pytest.raises(DataError, match="the column 'image' may belong to the question"):
        read(path)


@pytest.mark.parametrize("name", ["title", "body", "abstract", "transcript", "headline"])
def test_texts_that_a_question_is_about_belong_to_it(name: str, tmp_path: Path) -> None:
    rows = [{name: f"text {n}", "question": "What is meant?", "completion": f"a{n}", "score": n} for n in range(3)]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(DataError, match=rf"columns\.prompt=\[question,{name}\]"):
        read(path)
