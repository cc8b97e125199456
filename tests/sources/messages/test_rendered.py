"""Rendered conversations come apart into the messages that were rendered."""

from __future__ import annotations

import re
from collections.abc import Callable

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefboost.sources.messages.rendered import BEGINNINGS, LIKELY, MARKS, looks_rendered, parse_rendered

Messages = list[dict[str, str]]


def chatml(messages: Messages) -> str:
    return "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in messages)


def llama3(messages: Messages) -> str:
    return "<|begin_of_text|>" + "".join(
        f"<|start_header_id|>{m['role']}<|end_header_id|>\n\n{m['content']}<|eot_id|>" for m in messages
    )


def llama4(messages: Messages) -> str:
    return "<|begin_of_text|>" + "".join(
        f"<|header_start|>{m['role']}<|header_end|>\n\n{m['content']}<|eot|>" for m in messages
    )


def gemma(messages: Messages) -> str:
    names = {"assistant": "model"}
    return "<bos>" + "".join(
        f"<start_of_turn>{names.get(m['role'], m['role'])}\n{m['content']}<end_of_turn>\n" for m in messages
    )


def zephyr(messages: Messages) -> str:
    return "".join(f"<|{m['role']}|>\n{m['content']}</s>\n" for m in messages)


def phi(messages: Messages) -> str:
    return "".join(f"<|{m['role']}|>\n{m['content']}<|end|>\n" for m in messages)


def llama2(messages: Messages) -> str:
    system = f"<<SYS>>\n{messages[0]['content']}\n<</SYS>>\n\n" if messages[0]["role"] == "system" else ""
    spoken = [m for m in messages if m["role"] != "system"]
    turns = [
        f" {m['content']} </s>"
        if m["role"] == "assistant"
        else f"<s>[INST] {system if at == 0 else ''}{m['content']} [/INST]"
        for at, m in enumerate(spoken)
    ]
    return "".join(turns)


def phi4(messages: Messages) -> str:
    return "".join(f"<|im_start|>{m['role']}<|im_sep|>{m['content']}<|im_end|>" for m in messages)


def granite(messages: Messages) -> str:
    return "".join(f"<|start_of_role|>{m['role']}<|end_of_role|>{m['content']}<|end_of_text|>\n" for m in messages)


def command_r(messages: Messages) -> str:
    names = {"user": "USER", "assistant": "CHATBOT", "system": "SYSTEM"}
    return "<BOS_TOKEN>" + "".join(
        f"<|START_OF_TURN_TOKEN|><|{names[m['role']]}_TOKEN|>{m['content']}<|END_OF_TURN_TOKEN|>" for m in messages
    )


def exaone(messages: Messages) -> str:
    return "".join(f"[|{m['role']}|]{m['content']}{'' if m['role'] == 'user' else '[|endofturn|]'}\n" for m in messages)


def glm(messages: Messages) -> str:
    return "[gMASK]<sop>" + "".join(f"<|{m['role']}|>\n{m['content']}" for m in messages)


def mistral7(messages: Messages) -> str:
    forms = {"system": "[SYSTEM_PROMPT]{}[/SYSTEM_PROMPT]", "user": "[INST]{}[/INST]", "assistant": "{}</s>"}
    return "<s>" + "".join(forms[m["role"]].format(m["content"]) for m in messages)


TEMPLATES = (
    chatml, llama3, llama4, gemma, zephyr, phi, llama2, phi4, granite, command_r, exaone, glm, mistral7,
)  # fmt: skip
OPENING = {
    chatml: "<|im_start|>assistant\n",
    llama3: "<|start_header_id|>assistant<|end_header_id|>\n\n",
    llama4: "<|header_start|>assistant<|header_end|>\n\n",
    gemma: "<start_of_turn>model\n",
    zephyr: "<|assistant|>\n",
    phi: "<|assistant|>\n",
    llama2: "",
    phi4: "<|im_start|>assistant<|im_sep|>",
    granite: "<|start_of_role|>assistant<|end_of_role|>",
    command_r: "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
    exaone: "[|assistant|]",
    glm: "<|assistant|>\n",
    mistral7: "",
}
TEXT = st.text(st.sampled_from("ab c\n.[]{}'\"<|é"), min_size=1, max_size=20).filter(
    lambda text: text == text.strip() and not any(mark in text for mark in ("<|", "[|", "[INST", "[/INST", "<<", "<s"))
)
TALK = st.builds(
    lambda system, texts: [
        *([{"role": "system", "content": system}] if system else []),
        *({"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(texts)),
    ],
    st.none() | TEXT,
    st.lists(TEXT, min_size=1, max_size=4),
)


@pytest.mark.parametrize("template", TEMPLATES)
@settings(max_examples=40, deadline=None)
@given(messages=TALK)
def test_what_a_template_renders_is_parsed_again(template: Callable[[Messages], str], messages: Messages) -> None:
    assert parse_rendered(template(messages)) == messages
    if messages[-1]["role"] == "user":
        assert parse_rendered(template(messages) + OPENING[template]) == messages
    assert looks_rendered(template(messages)) or template is gemma or template is llama2


@given(TEXT)
def test_plain_texts_are_no_conversations(text: str) -> None:
    assert parse_rendered(text) is None and not looks_rendered(text)


def test_an_answer_loses_the_token_that_ended_its_turn_and_nothing_else() -> None:
    for end in ("<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|end|>"):
        assert parse_rendered(f"an answer{end}\n") == [{"role": "assistant", "content": "an answer"}]
    assert parse_rendered("I write <|im_end|> in the middle") is None


def test_turns_with_something_between_them_or_unknown_roles_are_left_alone() -> None:
    assert parse_rendered("What does <|im_start|>user\nhi<|im_end|> mean?") is None
    assert parse_rendered("<|im_start|>wizard\nhi<|im_end|>") is None
    assert parse_rendered("Explain [INST] to me") is None


LOOSE = {
    "### Instruction:\nq\n\n### Response:": True,
    "Below is an instruction that describes a task.\n\n### Instruction:\nq": True,
    "A chat between a user and an assistant. USER: q ASSISTANT:": True,
    "<|im_start|>user\nq": True,
    "Human: q\nAssistant:": True,
    "<|start|>user<|message|>q<|end|>": True,
    "<human>: q\n<bot>:": True,
    "an answer<|END_OF_TURN_TOKEN|>": True,
    "an answer[|endofturn|]": True,
    "How do I write a ### heading?": False,
    "The user: a human": False,
}


@pytest.mark.parametrize("text", LOOSE)
def test_likely_texts_are_found_by_polars_as_by_python(text: str) -> None:
    assert bool(re.search(LIKELY.replace("(?s)", ""), text, re.DOTALL)) == LOOSE[text]
    assert pl.Series([text]).str.contains(LIKELY)[0] == LOOSE[text]
    begins = pl.Series([text]).str.contains(BEGINNINGS)[0]
    assert (begins or pl.Series([text]).str.contains_any(list(MARKS))[0]) == LOOSE[text]
