"""Contents in parts, ``[{"type": "text", "text": ...}]``: joined to a text, restored, fitted to a chat template."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from prefboost.errors import TemplateRefusal

__all__ = ["ContentForms", "are_text_parts", "fit_contents", "join_parts", "probe_content_forms", "restore_parts"]

TEXT_TYPES = ("text", "input_text", "output_text")
"""Types of parts that hold a text."""

_FIRST, _SECOND = "prefboost probes the first part", "prefboost probes the second part"


def are_text_parts(content: Any) -> TypeGuard[list[Mapping[str, Any]]]:
    """Tell whether a content is a list of parts that are all texts; an empty list is."""
    return isinstance(content, list) and all(
        isinstance(part, Mapping) and part.get("type") in TEXT_TYPES and isinstance(part.get("text"), str)
        for part in content
    )


def join_parts(parts: Sequence[Mapping[str, Any]]) -> str:
    """Join the texts of parts, with nothing between them.

    The templates that loop over parts (Llama 3.2 Vision, Qwen 2.5 VL, Gemma 3, SmolVLM) write them so.
    """
    return "".join(part["text"] for part in parts)


def restore_parts(parts: Sequence[Mapping[str, Any]], content: str) -> list[dict[str, Any]]:
    """Return the parts of a text that was joined from ``parts``, and to which a goal may have been added since.

    What stands before the joined text goes to the first part, what stands behind it to the last one; a text that does
    not hold it any more becomes one part. Joined, the result is always ``content``.
    """
    joined = join_parts(parts)
    if content == joined:
        return [dict(part) for part in parts]
    if not joined or joined not in content:
        return [{"type": "text", "text": content}]
    before, _, after = content.partition(joined)
    restored = [dict(part) for part in parts]
    restored[0]["text"] = before + restored[0]["text"]
    restored[-1]["text"] += after
    return restored


@dataclass(frozen=True)
class ContentForms:
    """Forms of contents that a chat template writes: texts, and parts."""

    texts: bool
    parts: bool


def probe_content_forms(render: Callable[[Sequence[Mapping[str, Any]]], str]) -> ContentForms:
    """Render a question as a text and in two parts, and find which of them the template writes.

    Args:
        render: renders messages as the tokenizer's chat template does; may raise anything.
    """
    texts = _try_rendering(render, _FIRST)
    parts = _try_rendering(render, [{"type": "text", "text": _FIRST}, {"type": "text", "text": _SECOND}])
    between = parts.partition(_FIRST)[2].partition(_SECOND)
    # Templates for texts refuse a list, leave it out (Qwen 3), or print it as Python does, with its keys (Llama 3).
    takes_parts = bool(between[1]) and "type" not in between[0]
    # A template that refuses any question is told apart by the messages themselves, when they are rendered.
    return ContentForms(_FIRST in texts or not takes_parts, takes_parts)


def _try_rendering(render: Callable[[Sequence[Mapping[str, Any]]], str], content: Any) -> str:
    try:
        return render([{"role": "user", "content": content}])
    except Exception:  # a template is foreign code, so any error is a refusal
        return ""


def fit_contents(records: Sequence[Mapping[str, Any]], forms: ContentForms) -> list[dict[str, Any]]:
    """Give messages the form of content that a template writes, without changing what they say.

    Args:
        records: messages as chat templates take them.
        forms: what the template writes.

    Raises:
        TemplateRefusal: a content has several parts, and the template writes texts only: how they are to be joined is
            not known.
    """
    fitted = []
    for number, record in enumerate(records):
        content = record.get("content")
        if isinstance(content, list) and not forms.parts:
            if len(content) > 1:
                raise TemplateRefusal(
                    f"{record['role']} message {number} gives its content in {len(content)} parts, and the chat "
                    "template writes texts only, so that how to join them is not known",
                    remedy="join them in the data as they are meant, or give a template that loops over parts: "
                    "chat_template: FILE.jinja",
                )
            content = join_parts(content)
        elif isinstance(content, str) and not forms.texts:
            content = [{"type": "text", "text": content}]
        fitted.append({**record, "content": content} if content is not record.get("content") else dict(record))
    return fitted
