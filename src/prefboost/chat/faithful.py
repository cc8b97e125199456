"""Find what a chat template leaves out of a rendered text: some drop calls, thoughts or whole messages."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

__all__ = ["find_lost_part"]

_THOUGHTS = ("reasoning_content", "reasoning", "thinking")
"""Keys of a message that hold the thoughts before its content."""

_SHOWN = 60


def find_lost_part(text: str, messages: Sequence[Mapping[str, Any]], roles: Iterable[str] | None = None) -> str | None:
    """Name the first part of the messages that a rendered text lacks.

    Parts are a message's content, the name and arguments of a tool call, and the thoughts of the last message
    (``reasoning_content``). White space is ignored, since templates trim; text may be escaped, as in JSON.

    Args:
        text: the rendering.
        messages: as a table holds them.
        roles: of the messages that are checked; None: all.

    Returns:
        e.g. ``the call of get_weather``; None where nothing is lost.
    """
    squeezed = _squeeze(text)
    counted = None if roles is None else set(roles)
    for number, message in enumerate(messages):
        if counted is not None and message["role"] not in counted:
            continue
        extra = json.loads(message["extra"]) if message.get("extra") else {}
        if not _holds(squeezed, message["content"]):
            return f"the content of {message['role']} message {number}: {message['content'].strip()[:_SHOWN]!r}"
        for name, arguments in _list_calls(extra):
            if not _holds(squeezed, name) or not _holds_arguments(squeezed, arguments):
                return f"the call of {name}({json.dumps(arguments, ensure_ascii=False)[:_SHOWN]})"
        thought = next((extra[key] for key in _THOUGHTS if isinstance(extra.get(key), str)), "")
        if message is messages[-1] and not _holds(squeezed, thought):
            return f"the thoughts of the last message: {thought.strip()[:_SHOWN]!r}"
    return None


def _list_calls(extra: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield name and arguments of every call of a message, in OpenAI's form, a flat one, or the older single one."""
    value = extra.get("tool_calls")
    calls = value if isinstance(value, list) else []
    older = extra.get("function_call")
    for call in [*calls, *([older] if isinstance(older, Mapping) else [])]:
        function = call.get("function", call) if isinstance(call, Mapping) else None
        if isinstance(function, Mapping):
            yield str(function.get("name") or ""), function.get("arguments")


def _holds_arguments(squeezed: str, arguments: Any) -> bool:
    """Tell whether a text holds the arguments of a call, whole or value by value."""
    # Arguments may be JSON in a string; templates print that string, or parse it and print each value their way.
    if arguments is None or (isinstance(arguments, str) and _holds(squeezed, arguments)):
        return True
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError:
            return False
    return all(
        _holds(squeezed, leaf) if isinstance(leaf, str) else json.dumps(leaf) in squeezed or str(leaf) in squeezed
        for leaf in _walk_leaves(arguments)
    )


def _walk_leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield str(key)
            yield from _walk_leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from _walk_leaves(item)
    else:
        yield value


def _holds(squeezed: str, text: str) -> bool:
    if (plain := _squeeze(text)) in squeezed:
        return True
    if any(_squeeze(json.dumps(text, ensure_ascii=ascii_only)[1:-1]) in squeezed for ascii_only in (False, True)):
        return True
    # Templates that know thoughts write the marks again (Qwen 3), so only the text between them can be compared.
    return "<think>" in plain and all(
        part in squeezed for part in plain.replace("</think>", "<think>").split("<think>")
    )


def _squeeze(text: str) -> str:
    return "".join(text.split())
