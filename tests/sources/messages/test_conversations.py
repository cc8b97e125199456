"""Messages out of text, chats of any spelling, and transcripts; the checks agree with those of single messages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefboost.chat import ROLES, to_record
from prefboost.diagnosis.inspection import inspect
from prefboost.sources import read, read_batches
from prefboost.sources.messages.conversations import (
    NOT_TEXT_PART,
    NULL_KEYS,
    convert_messages,
    count_null_keys,
    find_role_faults,
    hash_prompts,
    parse_transcripts,
    prepend_system,
)
from prefboost.sources.write import write
from prefboost.tables import MESSAGES

CONVERSATION = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from([*ROLES, "wizard"]), "content": st.just("x")}),
    min_size=1,
    max_size=4,
)


def is_sound(roles: list[str], completion: bool) -> bool:
    """Tell whether roles make a prompt or a completion, without the columns' check."""
    spoken = roles[1:] if roles[0] == "system" and not completion else roles
    if not set(spoken) <= set(ROLES) - {"system"}:
        return False
    if completion:
        return roles[0] == roles[-1] == "assistant" and "user" not in roles
    return bool(spoken) and spoken[-1] in ("user", "tool")


@settings(max_examples=60, deadline=None)
@given(st.lists(CONVERSATION, min_size=1, max_size=5), st.booleans())
def test_roles_are_faulty_exactly_where_they_make_no_prompt_or_completion(
    rows: list[list[dict[str, Any]]], completion: bool
) -> None:
    lists, _ = convert_messages(pl.Series("m", rows), "user")
    faults = find_role_faults(lists, completion=completion)
    for row, fault in zip(rows, faults, strict=True):
        assert (fault is None) == is_sound([message["role"] for message in row], completion)


def test_spellings_of_messages_come_out_alike() -> None:
    plain, _ = convert_messages(pl.Series("m", ["hi"]), "user")
    chat, _ = convert_messages(pl.Series("m", [[{"role": "user", "content": "hi"}]]), "user")
    sharegpt, _ = convert_messages(pl.Series("m", [[{"from": "human", "value": "hi"}]]), "user")
    single, _ = convert_messages(pl.Series("m", [{"role": "user", "content": "hi"}]), "user")
    spoken = parse_transcripts(pl.Series("m", ["\n\nHuman: hi\n\nAssistant:"]))
    assert plain.to_list() == chat.to_list() == sharegpt.to_list() == single.to_list() == spoken.to_list()
    assert len(set(hash_prompts(pl.concat([plain, chat, sharegpt])))) == 1


def test_other_keys_of_messages_in_a_frame_are_kept_in_their_order_without_the_frame_s_nulls() -> None:
    records = [{"role": "assistant", "content": None, "tool_calls": [{"b": 1, "a": "é"}], "name": None}]
    plain = [{"role": "assistant", "content": "x"}]
    rows = [{"m": plain}, {"m": records}, {"m": plain}]
    lists, fault = convert_messages(pl.DataFrame(rows, infer_schema_length=None)["m"], "assistant")
    calling = {"role": "assistant", "content": "", "extra": '{"tool_calls": [{"b": 1, "a": "é"}]}'}
    assert lists.to_list() == [[{**plain[0], "extra": None}], [calling], [{**plain[0], "extra": None}]]
    assert fault.null_count() == 3


LEAF = st.none() | st.just("x")
STRUCT = st.fixed_dictionaries({"a": LEAF, "b": LEAF})
LISTS = st.lists(STRUCT, max_size=2)
NESTED = LEAF | STRUCT | LISTS | st.fixed_dictionaries({"a": LEAF, "b": LISTS})


def holds_null(value: Any) -> bool:
    """Tell whether an object has a null key at any depth."""
    if isinstance(value, dict):
        return any(item is None or holds_null(item) for item in value.values())
    return isinstance(value, list) and any(map(holds_null, value))


@settings(max_examples=100, deadline=None)
@given(NESTED)
def test_null_keys_of_messages_are_counted_at_any_depth_and_others_are_not(value: Any) -> None:
    record = {"meta": {"judge": None}, "m": [{"role": "user", "content": None, "extra": None, "call": value}]}
    frame = pl.DataFrame([record, {**record, "m": []}], infer_schema_length=None, strict=False)
    assert count_null_keys(frame, frame.columns, None) == (value is None or holds_null(value))


def test_records_with_null_keys_are_noted_and_reported_of_parquet_and_kept_of_json_lines(tmp_path: Path) -> None:
    default: Any = {"type": "function", "function": {"name": "f", "parameters": {"default": None}}}
    rows = [{"prompt": f"q{at}", "chosen": "a", "rejected": "b", "tools": [default]} for at in range(3)]
    pl.DataFrame(rows).write_parquet(tmp_path / "a.parquet")
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    table, exact = read(tmp_path / "a.parquet"), read(tmp_path / "a.jsonl")
    assert table.steps[0].notes[NULL_KEYS] == 3 and NULL_KEYS not in exact.steps[0].notes
    assert '"default": null' in str(exact.frame["prompt"][0]) and "default" not in str(table.frame["prompt"][0])
    (finding,) = [each for each in inspect(tmp_path / "a.parquet").findings if each.name == "null_keys"]
    assert finding.count == 3 and "Parquet and Arrow write null" in finding.sentence
    assert sum(each.steps[0].notes[NULL_KEYS] for each in read_batches(tmp_path / "a.parquet", rows=1)) == 3


def test_ids_tell_messages_apart_and_never_change() -> None:
    one = pl.Series("m", [[{"role": "user", "content": "ab", "extra": None}]], dtype=MESSAGES)
    two = pl.Series(
        "m",
        [[{"role": role, "content": c, "extra": None} for role, c in (("user", "a"), ("user", "b"))]],
        dtype=MESSAGES,
    )
    assert hash_prompts(one).to_list() == ["4fb9d8cc982dd20d"]
    assert hash_prompts(one)[0] != hash_prompts(two)[0]


def test_a_system_text_goes_in_front_unless_blank_or_already_there() -> None:
    prompts, _ = convert_messages(pl.Series("m", ["a", "b", "c"]), "user")
    roles = [[m["role"] for m in row] for row in prepend_system(prompts, pl.Series(["be", " ", None])).to_list()]
    assert roles == [["system", "user"], ["user"], ["user"]]
    assert (
        prepend_system(prepend_system(prompts, pl.Series(["x"] * 3)), pl.Series(["y"] * 3)).list.len().to_list()
        == [2] * 3
    )


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
