"""One message of a conversation, and the tools that a conversation offers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from prefboost.chat.contents import are_text_parts, restore_parts

__all__ = [
    "ROLES",
    "TOOLS",
    "Message",
    "dump_extra",
    "extra_of",
    "join_text",
    "carries_extra",
    "to_record",
    "tools_of",
    "with_tools",
]

ROLES = ("system", "user", "assistant", "tool")
"""Roles a message may have. ``developer``, ``human``, ``gpt`` ... are renamed by sources, never guessed here."""

TOOLS = "conversation_tools"
"""Key in the ``extra`` of a prompt's first message: the tools that the whole conversation offers."""


class Message(TypedDict):
    """A message as it stands in a table.

    ``extra`` is a JSON object of every other key the message had (``tool_calls``, ``name``, ``tool_call_id``), in the
    order and with the types and nulls of the source, or None. Where the source's message has a place for ``role``
    or ``content`` that is not the usual one, or a content of null, these keys stand in ``extra`` too, to mark it.
    A content in parts is one text here, and its parts are the ``content`` of ``extra``.
    """

    role: str
    content: str
    extra: str | None


def extra_of(record: Mapping[str, Any], role_key: str = "role", text_key: str = "content") -> str | None:
    """Return what a message says besides its role and text, as ``extra`` holds it; None where that is nothing.

    Args:
        record: the message as its source has it.
        role_key, text_key: what the source calls the two.
    """
    others = {key: value for key, value in record.items() if key not in (role_key, text_key)}
    content = record.get(text_key)
    mark = content if are_text_parts(content) else None if content is None else ""
    silent = content is None or (isinstance(content, str) and not content.strip())
    if not mark and (not others or (silent and all(value is None for value in others.values()))):
        return None
    if list(record)[:2] != [role_key, text_key] or content is None:
        names = {role_key: ("role", None), text_key: ("content", mark)}
        others = dict(names.get(key, (key, value)) for key, value in record.items())
    elif are_text_parts(content):
        others = {"content": content, **others}
    return dump_extra(others)


def carries_extra(message: Mapping[str, Any]) -> bool:
    """Return whether a message has more than its text: a key with a value, besides the tools of the conversation."""
    extra = message.get("extra")
    if not extra:
        return False
    return any(value is not None for key, value in json.loads(extra).items() if key not in ("role", "content", TOOLS))


def dump_extra(extra: Mapping[str, Any]) -> str:
    """Write ``extra`` as JSON: order, types and nulls stay; lone surrogates, which no file can hold, are escaped."""
    text = json.dumps(extra, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(extra)
    return text


def to_record(message: Mapping[str, Any], *, parts: bool = True) -> dict[str, Any]:
    """Return the message as chat templates and other tools expect it: ``extra`` spread out again, absent when empty.

    Tools of the whole conversation are not part of a message: see `tools_of`.

    Args:
        message: as a table holds it.
        parts: whether a content that its source gave in parts is given in parts again, or as one text.
    """
    extra = message.get("extra")
    others = json.loads(extra) if extra else {}
    others.pop(TOOLS, None)
    role, content = message["role"], message["content"]
    if are_text_parts(others.get("content")):
        content = others["content"] = restore_parts(others["content"], content) if parts else content
    if "role" not in others:
        return {"role": role, "content": content, **others}
    if "content" in others or content:  # a text that was put in later has a place even where the source had none
        others["content"] = content if content else others.get("content")
    return {**others, "role": role}


def tools_of(messages: Sequence[Mapping[str, Any]]) -> list[Any] | None:
    """Return the tools that a conversation offers, as chat templates take them (``tools=``); None where it has none."""
    for message in messages:
        extra = message.get("extra")
        if extra and TOOLS in extra:
            tools: list[Any] | None = json.loads(extra).get(TOOLS)
            if tools is not None:
                return tools
    return None


def with_tools(messages: Sequence[Message], tools: Sequence[Any]) -> list[Message]:
    """Return a conversation that offers tools."""
    first, *rest = messages
    extra = json.loads(first["extra"]) if first["extra"] else {}
    return [{**first, "extra": dump_extra({**extra, TOOLS: list(tools)})}, *rest]


def join_text(messages: Sequence[Mapping[str, Any]]) -> str:
    """Join the contents of messages with newlines, for lengths, hashes and lints."""
    return "\n".join(str(message["content"]) for message in messages)
