"""Tool calls and other keys of messages reach the chat template as the source's JSON has them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.chat.test_rendering import tokenizer_with

from prefboost.chat import to_record
from prefboost.chat.rendering import ChatEncoder
from prefboost.sources import read
from prefboost.sources.messages.keys import (
    drop_filled_nulls,
    drop_notes,
    fold_keys,
    has_further_keys,
    has_further_values,
)
from prefboost.sources.writers.shapes import has_read_extra
from prefboost.tables import MESSAGES

WHOLE = "{% for m in messages %}{{ m | tojson }}\n{% endfor %}"

VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
CALL = st.fixed_dictionaries(
    {"type": st.just("function"), "function": st.fixed_dictionaries({"name": st.just("f"), "arguments": VALUE})}
)


@st.composite
def answers(draw: st.DrawFn) -> dict[str, Any]:
    """An assistant's message with a call, its keys in any order, its content a text, null or left out."""
    keys: list[tuple[str, Any]] = [("role", "assistant"), ("tool_calls", draw(st.lists(CALL, min_size=1, max_size=2)))]
    keys += draw(st.sampled_from([[("content", "So:")], [("content", None)], [("content", "")], []]))
    keys += draw(st.sampled_from([[], [("name", None)], [("zip", 75001), ("about", {"b": 1, "a": None})]]))
    return dict(draw(st.permutations(keys)))


def pair_of(chosen: dict[str, Any], number: int) -> dict[str, Any]:
    rejected = {"role": "assistant", "content": f"No {number}."}
    return {
        "prompt": [{"role": "user", "content": f"question {number}"}],
        "chosen": [chosen],
        "rejected": [rejected],
        "score_chosen": 2.0,
        "score_rejected": 1.0,
    }


@settings(max_examples=40, deadline=None)
@given(st.lists(answers(), min_size=1, max_size=4), st.booleans())
def test_the_template_sees_the_source_s_own_json(
    tmp_path_factory: pytest.TempPathFactory, messages: list[dict[str, Any]], as_array: bool
) -> None:
    records = [pair_of(message, number) for number, message in enumerate(messages)]
    path = tmp_path_factory.mktemp("own") / ("rows.json" if as_array else "rows.jsonl")
    path.write_text(json.dumps(records) if as_array else "".join(json.dumps(each) + "\n" for each in records))
    table = read(path)
    tokenizer = tokenizer_with(WHOLE)
    rows = {row["row"]: row for row in table.frame.iter_rows(named=True)}
    assert len(rows) == len(records)
    for number, record in enumerate(records):
        ours = ChatEncoder(tokenizer).render_conversation(rows[number]["prompt"], rows[number]["chosen"])
        own = tokenizer.apply_chat_template([*record["prompt"], *record["chosen"]], tokenize=False, goal=False)
        assert ours == own


def test_messages_of_sharegpt_keep_their_further_keys_under_the_usual_names() -> None:
    folded = fold_keys({"c": [{"from": "gpt", "value": None, "tool_calls": [{"b": 1.0, "a": None}]}]})
    record = to_record({**folded["c"][0], "role": "assistant", "content": ""})
    assert json.dumps(record) == '{"role": "assistant", "content": null, "tool_calls": [{"b": 1.0, "a": null}]}'


@pytest.mark.parametrize(
    "value",
    [
        [{"role": "user", "content": "x"}],
        [{"role": "user", "content": "x", "extra": '{"a": 1}'}, {"role": "user", "content": "x", "extra": None}],
        [{"from": "gpt4", "text": "x", "score": 5}],
        [{"text": "x", "score": 5}],
        {"role": "judge", "content": "x", "score": 5},
        ["x", 5],
        None,
    ],
)
def test_what_is_no_message_with_further_keys_stays_as_it_is(value: Any) -> None:
    assert fold_keys({"c": value}) == {"c": value}


def test_a_key_named_extra_that_is_not_ours_is_kept_as_a_key() -> None:
    folded = fold_keys({"c": [{"role": "user", "content": "x", "extra": "a note"}]})
    assert to_record(folded["c"][0]) == {"role": "user", "content": "x", "extra": "a note"}


def test_tools_become_json_text_and_frames_with_further_keys_are_seen() -> None:
    assert fold_keys({"tools": [{"b": 1, "a": None}]}) == {"tools": '[{"b": 1, "a": null}]'}
    deep = pl.DataFrame({"c": [[[{"role": "user", "content": "x", "id": 1}]]]})
    assert has_further_keys(deep.schema)
    assert has_further_keys(pl.DataFrame({"tools": [[{"name": "f"}]]}).schema)
    assert not has_further_keys(pl.DataFrame({"c": [[{"role": "user", "content": "x"}]], "tools": ["[]"]}).schema)
    assert not has_further_keys(pl.DataFrame({"c": [[{"text": "user", "score": 1}]]}).schema)


def test_nulls_of_the_source_are_nothing_that_an_export_would_lose() -> None:
    extras = [
        None,
        '{"name": null}',
        '{"name": null, "tool_calls": null}',
        '{"n": "null"}',
        '{"n": [null]}',
        '{"n": 0}',
    ]
    found = pl.DataFrame({"extra": extras}).select(has_further_values(pl.col("extra"))).to_series().to_list()
    assert found == [False, False, False, True, True, True]


READ = {
    '{"tool_calls": [{"function": {"name": "f"}}]}': True,
    '{"tool_call_id": "1"}': True,
    '{"id": 3, "reasoning_content": "hm"}': True,
    '{"conversation_tools": [{"name": "f"}]}': True,
    '{"tool_calls": [], "function_call": null, "name": ""}': False,
    '{"toxic": false, "id": 3, "timestamp": 1.5, "moderation": {"flagged": true}}': False,
    '{"note": "a \\"tool_calls\\": [1] in a text"}': False,
}


@pytest.mark.parametrize("extra", READ)
def test_notes_on_a_message_are_no_tool_calls(extra: str) -> None:
    json.loads(extra)
    lists = pl.Series("c", [[{"role": "user", "content": "x", "extra": extra}]], dtype=MESSAGES)
    assert lists.to_frame().select(has_read_extra("c")).to_series().to_list() == [READ[extra]]
    assert (drop_notes(lists)[0].to_list()[0]["extra"] is None) != READ[extra]


NOTED: list[dict[str, Any]] = [{"toxic": False}, {"id": 7, "timestamp": "t"}, {"moderation": {"flagged": [True]}}]


@pytest.mark.parametrize("note", NOTED)
def test_notes_refuse_no_row_and_part_no_prompts(tmp_path: Path, note: dict[str, Any]) -> None:
    def said(role: str, text: str, at: int) -> dict[str, Any]:
        return {"role": role, "content": text, **{key: [value, at] for key, value in note.items()}}

    rows: list[dict[str, Any]] = [
        {"chosen": [said("user", "q", 1), said("assistant", "a", 2)],
         "rejected": [said("user", "q", 3), said("assistant", text, 4)]}
        for text in ("b", "a")
    ]  # fmt: skip
    path = tmp_path / "noted.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    table = read(path)
    assert table.rejects["reason"].to_list() == ["the two completions are the same"]
    flat = [{"prompt": [said("user", "q", at)], "completion": f"c{at}", "score": at} for at in range(3)]
    path.write_text("".join(json.dumps(row) + "\n" for row in flat))
    assert read(path).frame["prompt_id"].n_unique() == 1


@pytest.mark.skipif(not hasattr(pl, "Map"), reason="this release of Polars reads maps as lists")
def test_nulls_of_structs_may_be_filled_in_and_those_of_maps_are_the_sources_own() -> None:
    inner = pl.Struct({"a": pl.Int64, "b": pl.List(pl.Map(pl.String, pl.Struct({"c": pl.Int64, "d": pl.Int64})))})
    value = {"a": None, "b": [{"x": None, "y": {"c": None, "d": 1}}]}
    assert drop_filled_nulls(value, inner) == {"b": [{"x": None, "y": {"d": 1}}]}
    assert drop_filled_nulls(value, None) == {"b": [{"y": {"d": 1}}]}
    assert drop_filled_nulls([1, None], pl.List(pl.Int64)) == [1, None]
