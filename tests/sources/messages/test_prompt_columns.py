"""Earlier turns and tools in columns of their own belong to the prompt, or are rejected by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.chat.test_rendering import tokenizer_with

from prefboost.chat.messages import tools_of
from prefboost.chat.rendering import ChatEncoder
from prefboost.preferences import RewardAugmented, relabel
from prefboost.sources import read
from prefboost.sources.messages.conversations import convert_messages
from prefboost.sources.messages.prompt_columns import insert_history, offer_tools
from prefboost.sources.write import write


def test_turns_go_in_front_of_the_question_behind_the_system_message() -> None:
    system = [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]
    prompts, _ = convert_messages(pl.Series("p", [system, [{"role": "user", "content": "r"}]]), "user")
    longer, faults = insert_history(prompts, pl.Series("h", [[["a", "b"], ["c", "d"]], []]))
    assert [[m["content"] for m in row] for row in longer.to_list()] == [["s", "a", "b", "c", "d", "q"], ["r"]]
    assert [m["role"] for m in longer.to_list()[0]] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert faults.null_count() == 2
    again, _ = insert_history(longer, pl.Series("h", [[["a", "b"], ["c", "d"]], []]))
    assert again.to_list() == longer.to_list()


def test_messages_are_turns_too_and_anything_else_is_a_fault() -> None:
    prompts, _ = convert_messages(pl.Series("p", ["q"]), "user")
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    longer, faults = insert_history(prompts, pl.Series("h", [turns]))
    assert [m["content"] for m in longer.to_list()[0]] == ["a", "b", "q"] and faults[0] is None
    for odd in ([["a"]], [["a", "b", "c"]], ["a"], [[1, 2]]):
        kept, faults = insert_history(prompts, pl.Series("h", [odd]))
        assert kept.to_list() == prompts.to_list()
        assert faults[0] == "is not a list of [question, answer], or of messages"


TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"z": 75001, "a": None, "b": "75001"}}}]
OTHER = [{"type": "function", "function": {"name": "g", "parameters": {"z": "text"}}}]
ASKED = [{"role": "user", "content": "q"}]
WHOLE = "{{ tools | tojson }}{% for m in messages %}{{ m | tojson }}{% endfor %}"


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("name", ["tools", "functions"])
@pytest.mark.parametrize("spell", [lambda tools: tools, json.dumps])
def test_the_template_is_given_the_source_s_own_tools(name: str, spell: Any, tmp_path: Path) -> None:
    rows = [
        {"prompt": ASKED, name: spell(tools), "completion": f"c{at}", "score": at}
        for at, tools in enumerate([TOOLS, TOOLS, OTHER, []])
    ]
    table = read(written(tmp_path / "a.jsonl", rows))
    assert table.rejects.is_empty() and table.frame["prompt_id"].n_unique() == 3
    assert [tools_of(prompt) for prompt in table.frame["prompt"].to_list()] == [TOOLS, TOOLS, OTHER, None]
    tokenizer = tokenizer_with(WHOLE)
    ours = ChatEncoder(tokenizer).render_prompt(table.frame["prompt"].to_list()[2])
    assert ours == tokenizer.apply_chat_template(ASKED, tools=OTHER, tokenize=False, goal=False)


def test_pairs_keep_their_tools_beside_a_system_message(tmp_path: Path) -> None:
    whole = [*ASKED, {"role": "assistant", "content": "a"}]
    row = {"chosen": whole, "rejected": [*ASKED, {"role": "assistant", "content": "b"}], "system": "s", "tools": TOOLS}
    prompt = read(written(tmp_path / "a.jsonl", [row])).frame["prompt"].to_list()[0]
    assert [message["role"] for message in prompt] == ["system", "user"] and tools_of(prompt) == TOOLS


@pytest.mark.parametrize("odd", ["no JSON", "{}", "[1]", 7, {"name": "f"}, ["x"]])
def test_what_is_no_list_of_tools_is_a_reject(odd: Any, tmp_path: Path) -> None:
    row = {"prompt": "q", "completion": "c", "score": 1, "tools": odd}
    table = read(written(tmp_path / "a.jsonl", [row]))
    assert table.rejects["reason"].to_list() == ["the tools are not a list of tools"]


def test_no_tools_change_no_prompt() -> None:
    prompts, _ = convert_messages(pl.Series("p", ["q"] * 4), "user")
    kept, faults = offer_tools(prompts, pl.Series("t", ["", None, "[]", "null"]))
    assert kept.to_list() == prompts.to_list() and faults.null_count() == 4


def test_tools_stand_beside_the_messages_in_what_is_written(tmp_path: Path) -> None:
    sides = {side: [{"role": "assistant", "content": side}] for side in ("chosen", "rejected")}
    row = {"prompt": ASKED, **sides, "score_chosen": 2.0, "score_rejected": 1.0, "tools": TOOLS}
    source = written(tmp_path / "a.jsonl", [row, {**row, "prompt": [{"role": "user", "content": "p"}], "tools": None}])
    write(relabel(read(source), RewardAugmented()), tmp_path / "out.jsonl", format="trl")
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line.get("tools") for line in lines] == [TOOLS, TOOLS, None, None]
    assert all(set(message) == {"role", "content"} for line in lines for message in line["prompt"])
