"""Earlier turns in a column of their own."""

from __future__ import annotations

import polars as pl

from prefboost.sources.messages.conversations import convert_messages
from prefboost.sources.messages.history import insert_history


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
