"""Conversations that a chat template has rendered to one text, taken apart into messages again."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

__all__ = ["BEGINNINGS", "LIKELY", "MARKS", "looks_rendered", "parse_rendered"]

ROLES = {"system": "system", "user": "user", "assistant": "assistant", "tool": "tool", "ipython": "tool",
         "model": "assistant", "human": "user", "developer": "system", "User": "user",
         "Assistant": "assistant", "USER_TOKEN": "user", "CHATBOT_TOKEN": "assistant",
         "SYSTEM_TOKEN": "system"}  # fmt: skip
"""Names of the four roles in templates."""


@dataclass(frozen=True)
class Markup:
    """The way in which one family of templates writes turns.

    Args:
        turn: matches one turn; groups ``role`` and ``content``.
        ends: what ends a turn, longest first: it may stand alone behind a completion.
        around: what may stand between turns and around them, besides space.
    """

    turn: re.Pattern[str]
    ends: tuple[str, ...]
    around: tuple[str, ...] = ()


def _compile_turn(begin: str, end: str, again: str) -> re.Pattern[str]:
    return re.compile(rf"{begin}(?P<content>.*?)(?:{end}|(?={again})|\Z)", re.DOTALL)


MARKUPS = (
    # ChatML: Qwen, Yi, Hermes, SmolLM2, ...
    Markup(
        re.compile(r"<\|im_start\|>(?P<role>\w+)(?:\n|\Z)(?P<content>.*?)(?:\n?<\|im_end\|>|\Z)", re.DOTALL),
        ("<|im_end|>", "<|endoftext|>"),
        ("<s>", "</s>", "<|endoftext|>", "<|startoftext|>"),
    ),
    # Phi-4
    Markup(
        _compile_turn(r"<\|im_start\|>(?P<role>\w+)<\|im_sep\|>", r"<\|im_end\|>", r"<\|im_start\|>"),
        ("<|im_end|>",),
        ("<|endoftext|>",),
    ),
    # Llama 3 and 4
    Markup(
        _compile_turn(
            r"<\|start_header_id\|>(?P<role>\w+)<\|end_header_id\|>\n{0,2}",
            r"<\|eot_id\|>|<\|eom_id\|>|<\|end_of_text\|>",
            r"<\|start_header_id\|>",
        ),
        ("<|eot_id|>", "<|eom_id|>", "<|end_of_text|>"),
        ("<|begin_of_text|>", "<|end_of_text|>"),
    ),
    Markup(
        _compile_turn(
            r"<\|header_start\|>(?P<role>\w+)<\|header_end\|>\n{0,2}",
            r"<\|eot\|>|<\|eom\|>|<\|end_of_text\|>",
            r"<\|header_start\|>",
        ),
        ("<|eot|>", "<|eom|>"),
        ("<|begin_of_text|>", "<|end_of_text|>"),
    ),
    # Gemma
    Markup(
        _compile_turn(r"<start_of_turn>(?P<role>user|model|system)(?:\n|\Z)", r"<end_of_turn>", r"<start_of_turn>"),
        ("<end_of_turn>", "<eos>"),
        ("<bos>", "<eos>"),
    ),
    # Zephyr, TinyLlama, Phi-3, Granite-like
    Markup(
        _compile_turn(
            r"<\|(?P<role>system|user|assistant|tool)\|>(?:\n|(?=\s*\Z))",
            r"\n?</s>|\n?<\|end\|>|\n?<\|endoftext\|>",
            r"<\|(?:system|user|assistant|tool)\|>(?:\n|\s*\Z)",
        ),
        ("<|end|>", "<|endoftext|>"),
        ("<s>", "</s>", "<|end|>", "<|endoftext|>", "[gMASK]", "<sop>"),
    ),
    # Granite
    Markup(
        _compile_turn(
            r"<\|start_of_role\|>(?P<role>\w+)<\|end_of_role\|>", r"<\|end_of_text\|>", r"<\|start_of_role\|>"
        ),
        ("<|end_of_text|>",),
    ),
    # Command R
    Markup(
        _compile_turn(
            r"<\|START_OF_TURN_TOKEN\|><\|(?P<role>\w+)\|>", r"<\|END_OF_TURN_TOKEN\|>", r"<\|START_OF_TURN_TOKEN\|>"
        ),
        ("<|END_OF_TURN_TOKEN|>",),
        ("<BOS_TOKEN>", "<EOS_TOKEN>"),
    ),
    # EXAONE
    Markup(
        _compile_turn(
            r"\[\|(?P<role>system|user|assistant)\|\]",
            r"\[\|endofturn\|\]|\n(?=\[\||\Z)",
            r"\[\|(?:user|assistant)\|\]",
        ),
        ("[|endofturn|]",),
    ),
    # DeepSeek V2.5 and later
    Markup(
        _compile_turn(r"<｜(?P<role>User|Assistant)｜>", r"<｜end▁of▁sentence｜>", r"<｜(?:User|Assistant)｜>"),
        ("<｜end▁of▁sentence｜>",),
        ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"),
    ),
)  # fmt: skip
"""Templates whose turns begin with special tokens, which no plain text holds by chance."""

SYSTEM_PROMPT = re.compile(r"\[SYSTEM_PROMPT\](?P<system>.*?)\[/SYSTEM_PROMPT\]", re.DOTALL)
"""The system message as Mistral's later templates write it, before the first question."""

INST = re.compile(
    r"\[INST\]\s*(?:<<SYS>>\s*(?P<system>.*?)\s*<</SYS>>\s*)?(?P<user>.*?)\s*\[/INST\](?P<assistant>.*?)(?=\[INST\]|\Z)",
    re.DOTALL,
)
"""A question and its answer as Llama 2 and Mistral write them."""

MARKED = (
    r"<\|im_start\|>|<\|start_header_id\|>|<\|header_start\|>|<start_of_turn>|<｜User｜>|<｜Assistant｜>"
    r"|<\|start_of_role\|>|<\|START_OF_TURN_TOKEN\|>|<\|start\|>\w+<\|(?:message|channel)\|>"
)
MARKED_FIRST = (
    r"\A\s*(?:<s>)?\s*(?:<\|(?:system|user|assistant)\|>|\[INST\]|\[SYSTEM_PROMPT\]|\[gMASK\]<sop>"
    r"|\[\|(?:system|user|assistant)\|\])"
)

BEGINNINGS = (
    rf"(?s){MARKED_FIRST}|\A\s*(?:Below is an instruction[^\n]*\n+)?### (?:Instruction|Human|User|System):"
    r"|\A\s*<(?:human|user|system)>:"
    r"|\A\s*(?:A chat between [^\n]*\s)?USER: .*ASSISTANT:|\A\s*(?:Human|User): .*\n(?:Assistant|AI|Bot):"
)
"""Pattern of how texts begin that are likely to be rendered conversations."""

MARKS = ("<|", "<start_of_turn>", "<end_of_turn>", "<｜", "[|endofturn|]")
"""Signs in every text that `LIKELY` finds elsewhere than at its beginning; looking for these takes a tenth of the
time.
"""

LIKELY = rf"{BEGINNINGS}|{MARKED}|<\|im_end\|>|<\|eot_id\|>|<end_of_turn>|<\|END_OF_TURN_TOKEN\|>|\[\|endofturn\|\]"
"""Pattern, of Polars too, of texts that are likely to be rendered conversations or parts of them."""


def looks_rendered(text: str) -> bool:
    """Tell whether a text holds what begins a turn in a chat template, which no plain text holds by chance."""
    return re.search(f"{MARKED}|{MARKED_FIRST}", text) is not None


def parse_rendered(text: str) -> list[dict[str, Any]] | None:
    """Parse the messages of a text that a chat template has rendered; None where it is not certain.

    An empty last assistant turn (the generation prompt) is left out. A text without turns that ends with the token that
    ends a turn is an assistant message without that token.
    """
    for markup in MARKUPS:
        turns = list(markup.turn.finditer(text))
        if turns:
            return _build_messages(text, turns, markup)
    if "[INST]" in text:
        return _parse_inst(text)
    end = next((end for markup in MARKUPS for end in markup.ends if text.rstrip().endswith(end)), None)
    if end is None:
        return None
    content = text.rstrip().removesuffix(end).rstrip("\n")
    if looks_rendered(content) or any(end in content for markup in MARKUPS for end in markup.ends):
        return None
    return [{"role": "assistant", "content": content}]


def _build_messages(text: str, turns: list[re.Match[str]], markup: Markup) -> list[dict[str, Any]] | None:
    between = text[: turns[0].start()] + "".join(
        text[turn.end() : following.start()] for turn, following in pairwise(turns)
    ) + text[turns[-1].end() :]  # fmt: skip
    for token in markup.around:
        between = between.replace(token, "")
    if between.strip() or any(turn["role"] not in ROLES for turn in turns):
        return None
    messages = [{"role": ROLES[turn["role"]], "content": turn["content"]} for turn in turns]
    if messages[-1]["role"] == "assistant" and not messages[-1]["content"].strip():
        messages.pop()
    return messages or None


def _parse_inst(text: str) -> list[dict[str, Any]] | None:
    plain = text.replace("<s>", "").replace("</s>", "").strip()
    messages: list[dict[str, Any]] = []
    first = SYSTEM_PROMPT.match(plain)
    if first is not None:
        messages.append({"role": "system", "content": first["system"]})
        plain = plain[first.end() :].lstrip()
    if not plain.startswith("[INST]"):
        return None
    at = 0
    for turn in INST.finditer(plain):
        if plain[at : turn.start()].strip():
            return None
        if turn["system"]:
            messages.append({"role": "system", "content": turn["system"]})
        messages.append({"role": "user", "content": turn["user"]})
        if turn["assistant"].strip():
            messages.append({"role": "assistant", "content": turn["assistant"].strip()})
        at = turn.end()
    return messages if messages and at == len(plain) else None
