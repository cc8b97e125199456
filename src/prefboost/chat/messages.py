"""One message of a conversation, and what makes a list of them a prompt or a completion."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

__all__ = ["ROLES", "Message", "check_messages", "from_record", "join_text", "to_record"]

ROLES = ("system", "user", "assistant", "tool")
"""Roles a message may have. ``developer``, ``human``, ``gpt`` ... are renamed by sources, never guessed here."""


class Message(TypedDict):
    """A message as it stands in a table.

    ``extra`` is a JSON object of every other key the message had (``tool_calls``, ``name``, ``tool_call_id``), or None.
    """

    role: str
    content: str
    extra: str | None


def from_record(record: Mapping[str, Any]) -> Message:
    """A message of any source, e.g. ``{"role": ..., "content": ..., "tool_calls": [...]}``, as a table row holds it."""
    extra = {key: value for key, value in record.items() if key not in ("role", "content") and value is not None}
    content = record.get("content")
    return {
        "role": str(record["role"]),
        "content": "" if content is None else str(content),
        "extra": json.dumps(extra, ensure_ascii=False, sort_keys=True) if extra else None,
    }


def to_record(message: Mapping[str, Any]) -> dict[str, Any]:
    """The message as chat templates and other tools expect it: ``extra`` spread out again, absent when empty."""
    extra = message.get("extra")
    return {"role": message["role"], "content": message["content"], **(json.loads(extra) if extra else {})}


def check_messages(messages: Sequence[Mapping[str, Any]], *, completion: bool = False) -> str | None:
    """What is wrong with a prompt (or a completion), or None.

    A prompt is non-empty, has known roles, a system message only in front, and ends with a user or tool turn.
    A completion is non-empty, and begins and ends with an assistant turn.
    """
    if not messages:
        return "no messages"
    roles = [message.get("role") for message in messages]
    for position, role in enumerate(roles):
        if role not in ROLES:
            return f"message {position} has role {role!r}, not one of {', '.join(ROLES)}"
        if role == "system" and (position > 0 or completion):
            return f"message {position} is a system message in the middle of the conversation"
    if completion and (roles[0] != "assistant" or roles[-1] != "assistant"):
        return f"a completion begins and ends with an assistant turn, found {roles[0]!r} ... {roles[-1]!r}"
    if not completion and roles[-1] not in ("user", "tool"):
        return f"a prompt ends with a user or tool turn, found {roles[-1]!r}"
    return None


def join_text(messages: Sequence[Mapping[str, Any]]) -> str:
    """All contents, separated by a newline (for lengths, hashes and lints)."""
    return "\n".join(str(message["content"]) for message in messages)
