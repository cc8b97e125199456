"""Conversations that end with their answer are prompts and completions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from prefboost.sources import Columns, read, read_batches
from prefboost.sources.layouts.whole_conversations import SplitReader, find_conversation_column
from prefboost.sources.readers.files import JsonReader


def talk(*texts: str, role: str = "role", text: str = "content", names: tuple[str, str] = ("user", "assistant")) -> Any:
    return [{role: names[at % 2], text: each} for at, each in enumerate(texts)]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


@pytest.mark.parametrize("encode", [lambda messages: messages, json.dumps])
@pytest.mark.parametrize(
    ("name", "spelling"),
    [("messages", {}), ("conversations", {"role": "from", "text": "value", "names": ("human", "gpt")})],
)
def test_scored_conversations_are_read_as_prompts_and_completions(
    name: str, spelling: dict[str, Any], encode: Any, tmp_path: Path
) -> None:
    rows = [{name: encode(talk("hi", "ho", f"q{n // 2}", f"a{n}", **spelling)), "score": n} for n in range(6)]
    plain = [{"prompt": talk("hi", "ho", f"q{n // 2}"), "completion": f"a{n}", "score": n} for n in range(6)]
    for size in (None, 2):
        tables = [
            pl.concat([table.frame for table in read_batches(write(tmp_path / file, each), rows=size)]).sort("row")
            for file, each in (("a.jsonl", rows), ("b.jsonl", plain))
        ]
        assert tables[0].equals(tables[1]) and tables[0]["prompt_id"].n_unique() == 3


def test_prompts_of_one_question_come_together_wherever_they_stand(tmp_path: Path) -> None:
    rows = [{"messages": talk(f"q{n % 50}", f"a{n}"), "rating": n % 7} for n in range(200)]
    batches = list(read_batches(write(tmp_path / "a.jsonl", rows), rows=20))
    seen = [set(table.frame["prompt_id"]) for table in batches]
    assert len(batches) > 1 and sum(map(len, seen)) == len(set().union(*seen)) == 50


def test_a_conversation_without_an_answer_is_a_reject_among_others(tmp_path: Path) -> None:
    rows = [{"messages": talk("q", f"a{n}"), "score": n} for n in range(3)]
    rows += [{"messages": talk("q"), "score": 1}, {"messages": [], "score": 1}, {"messages": None, "score": 1}]
    table = read(write(tmp_path / "a.jsonl", rows))
    assert len(table) == 3 and table.rejects["row"].to_list() == [3, 4, 5]


@pytest.mark.parametrize(
    "row",
    [
        {"messages": talk("q")},
        {"messages": talk("q", "a"), "rejected_response": "b"},
        {"prompt": "q", "completion": "a"},
        {"messages": "text"},
    ],
)
def test_other_records_are_left_alone(row: dict[str, Any]) -> None:
    assert find_conversation_column(pl.DataFrame([row] * 3), Columns()) is None


def test_answers_that_the_user_names_or_ignores_decide(tmp_path: Path) -> None:
    sample = pl.DataFrame([{"messages": talk("q", "a"), "reply": "b"}] * 2)
    assert find_conversation_column(sample, Columns()) == "messages"
    assert find_conversation_column(sample, Columns(completion="reply")) is None
    assert find_conversation_column(sample, Columns(ignore=("messages",))) is None


def test_a_projection_still_finds_the_answers(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"messages": talk("q", f"a{n}"), "score": n} for n in range(3)])
    frame = next(SplitReader(JsonReader(str(path)), "messages").batches(["completion"], None)).frames[0]
    assert [row[0]["content"] for row in frame["completion"].to_list()] == ["a0", "a1", "a2"]
    assert [len(row) for row in frame["messages"].to_list()] == [1, 1, 1]


def test_calls_of_tools_belong_to_the_answer(tmp_path: Path) -> None:
    def row(n: int, last: str) -> dict[str, Any]:
        call = {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"function": {"name": "f", "arguments": {"x": n}}}],
        }
        turns = [{"role": "user", "content": "q"}, call, {"role": "tool", "content": str(n)}]
        return {"messages": [*turns, *([{"role": "assistant", "content": last}] if last else [])], "score": n}

    table = read(write(tmp_path / "a.jsonl", [row(n, f"a{n}") for n in range(3)] + [row(3, "")]))
    assert table.frame["prompt_id"].n_unique() == 1 and table.rejects["row"].to_list() == [3]
    roles = [[message["role"] for message in completion] for completion in table.frame["completion"].to_list()]
    assert roles == [["assistant", "tool", "assistant"]] * 3
