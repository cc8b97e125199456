"""Replies of OpenAI-compatible servers, read with suspicion: results and token counts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prefboost.engines.engine import FinishReason, Result
from prefboost.engines.reasoning import join_reasoning

__all__ = [
    "READER",
    "Malformed",
    "RefusedRowError",
    "Unavailable",
    "estimate_tokens",
    "limit_prompt_tokens",
    "list_choices",
    "read_prompt_length",
    "read_results",
    "read_usage",
]


READER = 1
"""Version of how replies are read. Part of every key of a server's answer: raise it where the same reply is read into
another answer than before, so that answers of the older reading are not taken for it."""

_READ = ("prompt_tokens", "input_tokens", "prompt_token_count", "promptTokens", "inputTokens", "promptTokenCount")
_WRITTEN = (
    "completion_tokens", "output_tokens", "completion_token_count", "completionTokens", "outputTokens",
    "candidatesTokenCount",
)  # fmt: skip
_BOTH = ("total_tokens", "total_token_count", "totalTokens", "totalTokenCount")


class Malformed(Exception):
    """The reply is not what was asked for; asking again may help."""


class RefusedRowError(Exception):
    """The server or model declined this row; asking again is useless."""


class Unavailable(Exception):
    """The server does not offer this at all."""


_ENDED = {
    "stop": "stop eos eos_token eos_found end end_turn endoftext stop_sequence stop_token complete completed finish "
    "finished done success",
    "length": "length max_tokens max_length max_new_tokens max_output_tokens max_completion_tokens model_length "
    "model_context_window_exceeded token_limit tokens limit incomplete",
    "refused": "content_filter content_filtered filtered safety recitation blocklist blocked prohibited_content spii "
    "language refusal guardrail_intervened sensitive",
    "broken": "abort aborted cancel cancelled canceled error failed timeout insufficient_system_resource",
}
"""End of a completion -> its names among servers, in lower case and with underscores."""

_WORDS = {word: end for end, words in _ENDED.items() for word in words.split()}
_THOUGHTS = ("reasoning_content", "reasoning", "thinking", "thoughts", "reasoning_details", "thinking_blocks")
"""Fields of a message in which servers send what the model thought."""


def read_results(reply: Any, rendered: str, max_tokens: int | None = None, *, opened: bool = False) -> list[Result]:
    """Read the completions of a reply of ``/chat/completions`` or ``/completions``, at least one.

    A choice that cannot be read costs no other: it is left out, and whoever asked for several asks for it alone.

    Args:
        reply: the body.
        rendered: the prompt, by which tokens are estimated where the server does not count them.
        max_tokens: most tokens of a completion, by which a cut is told where the server does not say why it ended.
        opened: whether the prompt ends inside a thought.

    Raises:
        Malformed: no choice has a text, or all of them broke off.
        RefusedRowError: the model declined, called a tool, or was filtered, in all choices.
    """
    # Servers may list choices as they finish; samples are told apart by their place.
    choices = sorted(list_choices(reply), key=lambda choice: _parse_count(choice.get("index")) or 0)
    read = [_read_choice(choice) for choice in choices]
    spoken = [each for each in read if isinstance(each, _Choice)]
    if not spoken:
        raise next(each for each in read if isinstance(each, Exception))
    estimates = [estimate_tokens(each.text + (each.reasoning or "")) for each in spoken]
    prompt_tokens, written = read_usage(reply, estimate_tokens(rendered), estimates)
    # Servers bill a call as a whole. The remainder goes to the first rows, so that the sum stays what was billed.
    share, rest = divmod(written, len(spoken))
    # A server that gives no reason for the end has cut the completion if it wrote all tokens that it might.
    is_unsaid = max_tokens is not None and any(each.end is None for each in spoken)
    cut = is_unsaid and read_usage(reply, 0, [0])[1] >= (max_tokens or 0) * len(choices)
    return [
        Result.from_text(
            each.text,
            each.end or ("length" if cut else "stop"),
            (prompt_tokens, share + (at < rest)),
            reasoning=each.reasoning,
            opened=opened and each.reasoning is None,
        )
        for at, each in enumerate(spoken)
    ]


@dataclass(frozen=True)
class _Choice:
    """One choice: its text, thoughts that came beside it, and why it ended where the server says so."""

    text: str
    reasoning: str | None
    end: FinishReason | None


def _read_choice(choice: Mapping[str, Any]) -> _Choice | Malformed | RefusedRowError:
    """Read one choice, or return why it cannot be read."""
    try:
        # Anthropic's name, which gateways pass on; vLLM uses the same one for the stop token's number, beside a reason.
        reason = choice.get("finish_reason") or choice.get("stop_reason")
        word = re.sub(r"[\s-]+", "_", reason.strip()).lower() if isinstance(reason, str) else ""
        meaning = _WORDS.get(word.removeprefix("finish_reason_"))
        if meaning == "refused":
            raise RefusedRowError("the server's content filter cut the completion")
        if meaning == "broken" or choice.get("error"):
            raise Malformed(f"a choice ended for the reason {word[:40]!r}")
        end: FinishReason | None = "stop" if meaning == "stop" else "length" if meaning == "length" else None
        text, reasoning = _read_text(choice)
        if not text and reasoning is None and end is None:
            raise Malformed("a choice has no text and no reason to have ended")
        return _Choice(text, reasoning, end)
    except (Malformed, RefusedRowError) as fault:
        return fault


def read_usage(reply: Any, prompt_estimate: int, estimates: Sequence[int]) -> tuple[int, int]:
    """Read the tokens of prompt and completion under any of the names in use; estimates where they are missing."""
    usage = reply.get("usage") if isinstance(reply, Mapping) else None
    usage = usage if isinstance(usage, Mapping) else {}
    read, written = _read_count(usage, _READ), _read_count(usage, _WRITTEN)
    if written is None and read is not None and (both := _read_count(usage, _BOTH)) is not None:
        # Some servers count the prompt and the whole alone.
        written = max(both - read, 0)
    return prompt_estimate if read is None else read, sum(estimates) if written is None else written


def read_prompt_length(reply: Any) -> int:
    """Read the tokens of the prompt as the server counts them.

    Raises:
        Unavailable: it does not.
    """
    read, _ = read_usage(reply, 0, [0])
    if read == 0:
        raise Unavailable("the server does not count the tokens of prompts")
    return read


def estimate_tokens(text: str) -> int:
    """Estimate the tokens of a text: a token is some four bytes of English and its like."""
    return -(-len(text.encode("utf-8", "replace")) // 4)


def limit_prompt_tokens(text: str, messages: int) -> int:
    """Return an upper limit of a prompt's tokens: one per byte, and room for what the template adds to messages."""
    return len(text.encode("utf-8", "replace")) + 16 * messages + 64


def list_choices(reply: Any) -> list[Mapping[str, Any]]:
    """List the choices of a reply.

    Raises:
        Malformed: there is none.
    """
    choices = reply.get("choices") if isinstance(reply, Mapping) else None
    if not isinstance(choices, list) or not choices or not all(isinstance(choice, Mapping) for choice in choices):
        raise Malformed("the reply has no choices")
    return choices


def _read_text(choice: Mapping[str, Any]) -> tuple[str, str | None]:
    """Read text and thoughts of a choice.

    Raises:
        Malformed: there is no text.
        RefusedRowError: the model declined, or called a tool instead of answering.
    """
    message: Any = next((choice[name] for name in ("message", "delta") if choice.get(name) is not None), None)
    if not isinstance(message, Mapping):
        message = {"content": choice.get("text") if message is None else message, "absent": message is None}
    # OpenAI puts a refusal beside a content of null, under the finish reason stop.
    if message.get("refusal"):
        raise RefusedRowError(f"the model declined: {str(message['refusal'])[:120]}")
    content = message.get("content")
    text, beside = _join_parts(content)
    thoughts = [join_reasoning(*_join_parts(message[name])) for name in _THOUGHTS if message.get(name)]
    fields = [value for value in thoughts if value]
    # Servers send the same thoughts under two names; one of them is enough.
    reasoning = join_reasoning(*fields[:1], beside)
    called = bool(message.get("tool_calls") or message.get("function_call"))
    if called and (not text or str(choice.get("finish_reason")) in ("tool_calls", "function_call", "tool_use")):
        raise RefusedRowError("the model called a tool instead of answering")
    if text is None and (content is not None or message.get("absent")):
        raise Malformed("a choice has no text")
    # No content beside a good end means that the model said nothing, or nothing but thoughts.
    # Two halves that arrive as escapes are one character; a half alone becomes the sign of replacement, since no file
    # can hold it.
    return (text or "").encode("utf-16", "surrogatepass").decode("utf-16", "replace"), reasoning


def _join_parts(content: Any, depth: int = 0) -> tuple[str | None, str | None]:
    """Join text and thoughts of a content that is text, a part, or a list of parts; None where it holds none."""
    if isinstance(content, str):
        return content, None
    # No server nests parts so deep, and Python would stop at some depth.
    if depth > 4:
        return None, None
    if isinstance(content, Mapping):
        kind = str(content.get("type", "text"))
        if kind.startswith(("thinking", "reasoning", "redacted_thinking", "thought")):
            inner = next(
                (content[name] for name in ("thinking", "reasoning", "text", "content") if name in content), ""
            )
            text, beside = _join_parts(inner, depth + 1)
            return None, join_reasoning(text, beside) or ""
        if kind == "refusal":
            raise RefusedRowError(f"the model declined: {str(content.get('refusal'))[:120]}")
        named = next((content[name] for name in ("text", "content", "value", "parts") if name in content), None)
        return _join_parts(named, depth + 1)
    if not isinstance(content, list):
        return None, None
    pairs = [_join_parts(part, depth + 1) for part in content]
    texts = [text for text, _ in pairs if text is not None]
    # A list without parts is a text without characters; a list of images alone is no text.
    return ("".join(texts) if texts or not content else None), join_reasoning(*(beside for _, beside in pairs))


def _read_count(usage: Mapping[str, Any], names: Sequence[str]) -> int | None:
    for name in names:
        if name in usage and (count := _parse_count(usage[name])) is not None:
            return count
    return None


def _parse_count(value: Any) -> int | None:
    """Parse a count, also as ``5.0`` or ``"5"``, as some servers write it."""
    # A truth value is an int too, and no count.
    if type(value) is int:
        return value if value >= 0 else None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
        return int(value)
    return int(value) if isinstance(value, float) and 0 <= value < 1e15 and value.is_integer() else None
