"""Contents in parts: joined for reading, restored for templates that loop over them, never changed in between."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.chat.test_rendering import tokenizer_with

from prefboost.chat import place_goal, to_record
from prefboost.chat.contents import (
    ContentForms,
    are_text_parts,
    fit_contents,
    join_parts,
    probe_content_forms,
    restore_parts,
)
from prefboost.chat.messages import Message, extra_of
from prefboost.chat.rendering import ChatEncoder
from prefboost.errors import TemplateRefusal

LOOPS = ("gemma3", "qwen2_5_vl", "qwen3_vl", "smolvlm", "idefics3", "glm4moe")
TEXTS = ("llama3", "llama3_2", "qwen2_5", "qwen3", "gemma", "phi3", "deepseekv3")
"""Published templates, as TRL ships them, that loop over parts, and that write texts alone."""

words = st.text("ab é\n'\"{", min_size=1, max_size=8).filter(str.strip)


def tokenizer_of(name: str) -> Any:
    return tokenizer_with((files("trl") / "chat_templates" / f"{name}.jinja").read_text(encoding="utf-8"))


def part(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def say(role: str, *texts: str) -> dict[str, Any]:
    return {"role": role, "content": [part(text) for text in texts]}


def read(record: dict[str, Any]) -> Message:
    """Read a message as sources do."""
    return {"role": record["role"], "content": join_parts(record["content"]), "extra": extra_of(record)}


def probe(tokenizer: Any) -> ContentForms:
    return probe_content_forms(lambda messages: tokenizer.apply_chat_template(messages, tokenize=False))


@pytest.mark.parametrize("name", LOOPS)
@pytest.mark.parametrize("texts", [["one"], [" one ", "two\n"], ["one", " ", "three"]])
def test_a_template_that_loops_over_parts_gets_the_parts_of_the_source(name: str, texts: list[str]) -> None:
    tokenizer = tokenizer_of(name)
    source = [say("user", *texts), say("assistant", "yes", *texts)]
    whole = ChatEncoder(tokenizer).render_conversation([read(source[0])], [read(source[1])])
    assert whole == tokenizer.apply_chat_template(source, tokenize=False)
    assert probe(tokenizer).parts


@pytest.mark.parametrize("name", TEXTS)
def test_a_template_for_texts_gets_one_part_as_its_text_and_refuses_several(name: str) -> None:
    tokenizer = tokenizer_of(name)
    assert probe(tokenizer) == ContentForms(texts=True, parts=False)
    encoder = ChatEncoder(tokenizer)
    plain = tokenizer.apply_chat_template(
        [{"role": "user", "content": "one"}], add_generation_prompt=True, tokenize=False
    )
    assert encoder.render_prompt([read(say("user", "one"))]) == plain
    with pytest.raises(TemplateRefusal, match="user message 0 gives its content in 2 parts"):
        encoder.render_prompt([read(say("user", "one", "two"))])


@pytest.mark.parametrize("name", ["smolvlm", "idefics3"])
def test_a_template_that_writes_parts_alone_gets_a_text_as_one_part(name: str) -> None:
    tokenizer = tokenizer_of(name)
    assert probe(tokenizer) == ContentForms(texts=False, parts=True)
    text = ChatEncoder(tokenizer).render_prompt([{"role": "user", "content": "a text", "extra": None}])
    assert text == tokenizer.apply_chat_template([say("user", "a text")], add_generation_prompt=True, tokenize=False)
    assert "a text" in text


@pytest.mark.parametrize("place", ["system", "user", "after"])
def test_a_goal_stands_in_the_parts_where_it_was_put_into_the_text(place: Any) -> None:
    placed = place_goal([read(say("system", "Be ", "brief.")), read(say("user", "one", "two"))], "Score: 9.", place)
    contents = [to_record(message)["content"] for message in placed]
    expected = {
        "system": [[part("Score: 9.\n\nBe "), part("brief.")], [part("one"), part("two")]],
        "user": [[part("Be "), part("brief.")], [part("Score: 9.\n\none"), part("two")]],
        "after": [[part("Be "), part("brief.")], [part("one"), part("two\n\nScore: 9.")]],
    }
    assert contents == expected[place]


@given(st.lists(words, max_size=3), words, words, st.booleans())
def test_restored_parts_always_say_the_text(texts: list[str], before: str, after: str, kept: bool) -> None:
    parts = [part(text) for text in texts]
    content = f"{before}{join_parts(parts)}{after}" if kept else before
    restored = restore_parts(parts, content)
    assert join_parts(restored) == content and are_text_parts(restored)
    assert not kept or len(restored) == max(len(parts), 1)
    assert restore_parts(parts, join_parts(parts)) == parts


@pytest.mark.parametrize(
    "content", ["a text", None, [{"type": "image"}], [{"text": "no type"}], ["x"], [{"type": "text"}]]
)
def test_what_is_no_list_of_texts_is_told_apart(content: Any) -> None:
    assert not are_text_parts(content)


def test_messages_without_a_content_are_left_alone() -> None:
    records = [{"role": "assistant", "content": None, "tool_calls": []}, {"role": "tool"}]
    assert fit_contents(records, ContentForms(texts=False, parts=True)) == records


def test_a_message_comes_back_as_one_text_where_parts_are_not_asked_for() -> None:
    message = read({**say("assistant", "one", "two"), "name": "x"})
    assert to_record(message, parts=False) == {"role": "assistant", "content": "onetwo", "name": "x"}
