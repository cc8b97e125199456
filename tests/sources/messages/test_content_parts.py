"""Contents given as parts are read as the text they hold, and kept; other parts are rejected with a reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.chat import to_record
from prefboost.sources import read, read_batches
from prefboost.sources.messages.content_parts import NOT_TEXT_PART
from prefboost.sources.messages.conversations import convert_messages
from prefboost.sources.write import write

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8).filter(str.strip)
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}


def part(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


@given(st.lists(st.lists(texts, min_size=1, max_size=3), min_size=1, max_size=4))
def test_text_parts_are_read_as_their_texts(contents: list[list[str]]) -> None:
    turns = [{"role": "user", "content": [part(text) for text in content]} for content in contents]
    lists, faults = convert_messages(pl.Series("m", [turns]), "user")
    assert faults.to_list() == [None]
    assert [message["content"] for message in lists[0]] == ["".join(content) for content in contents]
    assert [to_record(message) for message in lists[0]] == turns


@pytest.mark.parametrize(
    "odd", [IMAGE, {"type": "image"}, {"type": "text"}, {"text": "no type"}, {"type": None, "text": "x"}]
)
def test_a_part_that_is_not_text_is_a_fault_even_beside_text(odd: dict[str, Any]) -> None:
    turns = [{"role": "user", "content": [part("look at this"), odd]}]
    good = [{"role": "user", "content": [part("fine")]}]
    _, faults = convert_messages(pl.Series("m", [turns, good], strict=False), "user")
    assert faults.to_list() == [NOT_TEXT_PART, None]


def pair(prompt: Any, chosen: Any) -> str:
    rejected = [{"role": "assistant", "content": "bad"}]
    return json.dumps({"prompt": prompt, "chosen": chosen, "rejected": rejected})


@pytest.mark.parametrize("rows", [None, 1])
def test_a_file_of_plain_mixed_and_image_contents_keeps_what_is_text(tmp_path: Path, rows: int | None) -> None:
    plain = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Q"}]
    mixed = [plain[0], {"role": "user", "content": [part("Q")]}]
    parts = [{"role": turn["role"], "content": [part(turn["content"])]} for turn in plain]
    image = [plain[0], {"role": "user", "content": [part("Q"), IMAGE]}]
    answers = [[{"role": "assistant", "content": "A"}], [{"role": "assistant", "content": [part("A")]}]]
    path = tmp_path / "chats.jsonl"
    path.write_text("\n".join(pair(prompt, answer) for prompt in (plain, mixed, parts, image) for answer in answers))
    tables = list(read_batches(path, rows=rows))
    kept = pl.concat([table.frame.select("row", "prompt", "prompt_id", "chosen") for table in tables]).sort("row")
    assert kept["row"].to_list() == [0, 1, 2, 3, 4, 5]
    assert kept["prompt_id"].n_unique() == 1
    records = [[to_record(message) for message in row] for row in kept["prompt"]]
    assert records == [prompt for prompt in (plain, mixed, parts) for _ in answers]
    assert [[to_record(message) for message in row] for row in kept["chosen"]] == answers * 3
    aside = pl.concat([table.rejects for table in tables])
    assert sorted(aside["row"]) == [6, 7]
    assert aside["reason"].unique().to_list() == [f"the prompt {NOT_TEXT_PART}"]


def test_parts_in_parquet_are_read(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": [part("Q")]}]
    path = tmp_path / "chats.parquet"
    pl.DataFrame({"prompt": [turns], "completion": ["A"], "score": [7]}).write_parquet(path)
    assert [to_record(message) for message in read(path).frame["prompt"][0]] == turns


@pytest.mark.parametrize("role, text", [("role", "content"), ("from", "value")])
@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_keys_of_parts_and_of_their_messages_are_kept_beside_each_other(
    tmp_path: Path, role: str, text: str, ending: str
) -> None:
    cached = {**part("Q"), "cache_control": {"type": "ephemeral"}}
    turns = [{role: "user", text: [cached, part("?")], "name": "Ann"}, {role: "user", text: [part("So?")]}]
    answer = [{role: "assistant", text: [part("A")]}]
    rows = [
        {"prompt": turns, "completion": answer, "score": 7},
        {"prompt": turns[1:], "completion": answer, "score": 3},
    ]
    path = tmp_path / f"chats.{ending}"
    if ending == "jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    else:
        pl.DataFrame(rows).write_parquet(path)
    table = read(path)
    records = [
        {role: each.pop("role"), text: each.pop("content"), **each} for each in map(to_record, table.frame["prompt"][0])
    ]
    assert records == turns
    write(table, tmp_path / f"again.{ending}")
    assert read(tmp_path / f"again.{ending}").frame["prompt"].to_list() == table.frame["prompt"].to_list()


def test_trainers_get_parts_as_one_text(tmp_path: Path) -> None:
    path, out = tmp_path / "chats.jsonl", tmp_path / "trl.jsonl"
    turns = [{"role": "user", "content": [part("one"), part(" two")]}]
    path.write_text(json.dumps({"prompt": turns, "completion": "A", "score": 7}))
    write(read(path), out, format="trl")
    assert json.loads(out.read_text())["prompt"] == [{"role": "user", "content": "one two"}]
