"""Replies of OpenAI-compatible servers, read with suspicion: results, log-probs and token counts."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from prefboost.engines.engine import FinishReason, Result
from prefboost.engines.reasoning import join_reasoning

__all__ = [
    "LOGPROBS_READER",
    "READER",
    "Malformed",
    "Refused",
    "Unavailable",
    "read_choice_logprobs",
    "read_echoed_logprob",
    "estimate_tokens",
    "log_sum",
    "limit_prompt_tokens",
    "read_prompt_length",
    "read_prompt_logprob",
    "read_results",
    "token_text",
    "read_usage",
]


READER = 1
"""Version of how replies are read. Part of every key of a server's answer: raise it where the same reply is read into
another answer than before, so that answers of the older reading are not taken for it."""

LOGPROBS_READER = 2
"""The same of log-probs. Version 1 took choices that a server does not list for impossible, whatever it left out."""

_READ = ("prompt_tokens", "input_tokens", "prompt_token_count", "promptTokens", "inputTokens", "promptTokenCount")
_WRITTEN = (
    "completion_tokens", "output_tokens", "completion_token_count", "completionTokens", "outputTokens",
    "candidatesTokenCount",
)  # fmt: skip
_NEARLY_ALL = 0.95
"""Probability of one token beside which those that are not listed play no part."""
_BOTH = ("total_tokens", "total_token_count", "totalTokens", "totalTokenCount")


class Malformed(Exception):
    """The reply is not what was asked for; asking again may help."""


class Refused(Exception):
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
        Refused: the model declined, called a tool, or was filtered, in all choices.
    """
    choices = sorted(_choices(reply), key=lambda choice: _parse_count(choice.get("index")) or 0)
    read = [_read_choice(choice) for choice in choices]
    spoken = [each for each in read if isinstance(each, _Choice)]
    if not spoken:
        raise next(each for each in read if isinstance(each, Exception))
    estimates = [estimate_tokens(each.text + (each.reasoning or "")) for each in spoken]
    prompt_tokens, written = read_usage(reply, estimate_tokens(rendered), estimates)
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


def _read_choice(choice: Mapping[str, Any]) -> _Choice | Malformed | Refused:
    """Read one choice, or return why it cannot be read."""
    try:
        end = _read_end(choice)
        text, reasoning = _read_text(choice)
        if not text and reasoning is None and end is None:
            raise Malformed("a choice has no text and no reason to have ended")
        return _Choice(text, reasoning, end)
    except (Malformed, Refused) as fault:
        return fault


def read_usage(reply: Any, prompt_estimate: int, estimates: Sequence[int]) -> tuple[int, int]:
    """Read the tokens of prompt and completion under any of the names in use; estimates where they are missing."""
    usage = reply.get("usage") if isinstance(reply, Mapping) else None
    usage = usage if isinstance(usage, Mapping) else {}
    read, written = _read_count(usage, _READ), _read_count(usage, _WRITTEN)
    if written is None and read is not None and (both := _read_count(usage, _BOTH)) is not None:
        written = max(both - read, 0)
    return prompt_estimate if read is None else read, sum(estimates) if written is None else written


def read_choice_logprobs(reply: Any, choices: Sequence[str]) -> tuple[float, ...]:
    """Read the log-prob of each choice as the first token: tokens that differ in blanks around them count together.

    Args:
        reply: of one token with its likeliest alternatives. What stands beside tokens that are no choice plays no part.
        choices: texts.

    Returns:
        nats; -inf where no token named is the choice.

    Raises:
        Malformed: no number where the log-prob of a choice should be.
        Unavailable: there are no log-probs.
    """
    listed = _choices(reply)[0].get("logprobs")
    if not isinstance(listed, Mapping):
        raise Unavailable("the server gives no log-probs of the tokens it writes")
    masses: dict[str, list[Any]] = {}
    alternatives = _list_alternatives(listed)
    if not any(_is_logprob(value) for _, value in alternatives):
        raise Malformed("none of the likeliest tokens has a log-prob")
    if len(alternatives) == 1 and math.exp(min(_number(alternatives[0][1]), 0.0)) < _NEARLY_ALL:
        # How likely the other choices are is not known, and taking them for impossible would make a sure verdict.
        raise Unavailable("the server gives the log-prob of the token it writes alone, and of no other likely one")
    for token, value in alternatives:
        masses.setdefault(token_text(token), []).append(value)
    return tuple(log_sum([_logprob(value) for value in masses.get(choice.strip(), [])]) for choice in choices)


def token_text(token: str) -> str:
    """Return a token's text without the blank before it, in any vocabulary's spelling (``Ġ1``, ``▁1``, ``<0x31>``)."""
    byte = re.fullmatch(r"<0x([0-9A-Fa-f]{2})>", token)
    return chr(int(byte[1], 16)).strip() if byte else token.strip(" \t\r\n\u00a0ĠĊĉ▁")


def read_prompt_length(reply: Any) -> int:
    """Read the tokens of the prompt as the server counts them.

    Raises:
        Unavailable: it does not.
    """
    read, _ = read_usage(reply, 0, [0])
    if read == 0:
        raise Unavailable("the server does not count the tokens of prompts")
    return read


def read_echoed_logprob(reply: Any, start: int) -> float:
    """Sum the log-probs of a prompt's tokens from ``start`` on, from ``/completions`` with ``echo``.

    Args:
        reply: with ``logprobs.token_logprobs`` of the echoed prompt and of what was written behind it.
        start: position of the first token that counts.

    Raises:
        Malformed: too few log-probs, or no number.
        Unavailable: the server does not echo log-probs.
    """
    logprobs = _choices(reply)[0].get("logprobs")
    values = logprobs.get("token_logprobs") if isinstance(logprobs, Mapping) else None
    end = read_prompt_length(reply)
    if not isinstance(values, list) or len(values) <= 1:
        raise Unavailable("the server gives no log-probs of what it is told to echo (vLLM does)")
    if len(values) < end:
        raise Malformed(f"{end} tokens have {len(values)} log-probs")
    return math.fsum(_logprob(value) for value in values[max(start, 1) : end])


def read_prompt_logprob(reply: Any, start: int) -> float:
    """Sum the log-probs of a prompt's tokens from ``start`` on, from vLLM's ``prompt_logprobs: 0``.

    White space that the chat template adds after the token that ends the turn is left out.

    Raises:
        Malformed: no number where a log-prob should be.
        Unavailable: the server gives none.
    """
    logprobs = reply.get("prompt_logprobs") if isinstance(reply, Mapping) else None
    if not isinstance(logprobs, list):
        raise Unavailable("the server gives no log-probs of prompts (vLLM does)")
    rows = [
        next(iter(entry.values()), None) if isinstance(entry, Mapping) else None for entry in logprobs[max(start, 1) :]
    ]
    entries = [row for row in rows if isinstance(row, Mapping)]
    if len(entries) < len(rows):
        raise Malformed("a token of the prompt has no log-prob")
    while entries and str(entries[-1].get("decoded_token") or "x").isspace():
        entries.pop()
    return math.fsum(_logprob(entry.get("logprob")) for entry in entries)


def estimate_tokens(text: str) -> int:
    """Estimate the tokens of a text: a token is some four bytes of English and its like."""
    return -(-len(text.encode("utf-8", "replace")) // 4)


def limit_prompt_tokens(text: str, messages: int) -> int:
    """Return an upper limit of a prompt's tokens: one per byte, and room for what the template adds to messages."""
    return len(text.encode("utf-8", "replace")) + 16 * messages + 64


def log_sum(values: Sequence[float]) -> float:
    """Return the log of a sum of probabilities given as logs; -inf for none."""
    top = max(values, default=-math.inf)
    return top if top == -math.inf else top + math.log(math.fsum(math.exp(value - top) for value in values))


def _choices(reply: Any) -> list[Mapping[str, Any]]:
    choices = reply.get("choices") if isinstance(reply, Mapping) else None
    if not isinstance(choices, list) or not choices or not all(isinstance(choice, Mapping) for choice in choices):
        raise Malformed("the reply has no choices")
    return choices


def _read_text(choice: Mapping[str, Any]) -> tuple[str, str | None]:
    """Read text and thoughts of a choice.

    Raises:
        Malformed: there is no text.
        Refused: the model declined, or called a tool instead of answering.
    """
    message: Any = next((choice[name] for name in ("message", "delta") if choice.get(name) is not None), None)
    if not isinstance(message, Mapping):
        message = {"content": choice.get("text") if message is None else message, "absent": message is None}
    if message.get("refusal"):
        raise Refused(f"the model declined: {str(message['refusal'])[:120]}")
    content = message.get("content")
    text, beside = _join_parts(content)
    thoughts = [join_reasoning(*_join_parts(message[name])) for name in _THOUGHTS if message.get(name)]
    fields = [value for value in thoughts if value]
    # Servers send the same thoughts under two names; one of them is enough.
    reasoning = join_reasoning(*fields[:1], beside)
    called = bool(message.get("tool_calls") or message.get("function_call"))
    if called and (not text or str(choice.get("finish_reason")) in ("tool_calls", "function_call", "tool_use")):
        raise Refused("the model called a tool instead of answering")
    if text is None and (content is not None or message.get("absent")):
        raise Malformed("a choice has no text")
    # No content beside a good end means that the model said nothing, or nothing but thoughts.
    return (text or "").encode("utf-16", "surrogatepass").decode("utf-16", "replace"), reasoning


def _join_parts(content: Any, depth: int = 0) -> tuple[str | None, str | None]:
    """Join text and thoughts of a content that is text, a part, or a list of parts; None where it holds none."""
    if isinstance(content, str):
        return content, None
    if depth > 4:  # no server nests parts so deep, and Python would stop at some depth
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
            raise Refused(f"the model declined: {str(content.get('refusal'))[:120]}")
        named = next((content[name] for name in ("text", "content", "value", "parts") if name in content), None)
        return _join_parts(named, depth + 1)
    if not isinstance(content, list):
        return None, None
    pairs = [_join_parts(part, depth + 1) for part in content]
    texts = [text for text, _ in pairs if text is not None]
    # A list without parts is a text without characters; a list of images alone is no text.
    return ("".join(texts) if texts or not content else None), join_reasoning(*(beside for _, beside in pairs))


def _read_end(choice: Mapping[str, Any]) -> FinishReason | None:
    """Read why a choice ended; None where the server gives no reason, or an unknown one.

    Raises:
        Malformed: it broke off, and asking again may help.
        Refused: it was filtered.
    """
    reason = choice.get("finish_reason") or choice.get("stop_reason")
    word = re.sub(r"[\s-]+", "_", reason.strip()).lower() if isinstance(reason, str) else ""
    end = _WORDS.get(word.removeprefix("finish_reason_"))
    if end == "refused":
        raise Refused("the server's content filter cut the completion")
    if end == "broken" or choice.get("error"):
        raise Malformed(f"a choice ended for the reason {word[:40]!r}")
    return "stop" if end == "stop" else "length" if end == "length" else None


def _list_alternatives(listed: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """List (token, log-prob) of the likeliest first tokens, in the chat form or the older one."""
    content, older = listed.get("content"), listed.get("top_logprobs")
    if isinstance(content, list) and content and isinstance(content[0], Mapping):
        written = content[0]
        top = written.get("top_logprobs")
        if isinstance(top, Mapping):
            top = [{"token": token, "logprob": value} for token, value in top.items()]
        pairs = [(_read_token(each), each.get("logprob")) for each in top or [] if isinstance(each, Mapping)]
        if pairs or "token" in written:
            # Some servers leave the token that they wrote out of its alternatives.
            is_listed = any(token == _read_token(written) for token, _ in pairs)
            return (
                pairs if is_listed or "logprob" not in written else [*pairs, (_read_token(written), written["logprob"])]
            )
    if isinstance(older, list) and older and isinstance(older[0], Mapping):
        return list(older[0].items())
    if isinstance(older, list) and older and isinstance(older[0], list):
        return [(_read_token(each), each.get("logprob")) for each in older[0] if isinstance(each, Mapping)]
    if content is None and older is None:
        raise Unavailable("the server gives no log-probs of the tokens it writes")
    raise Malformed("the likeliest tokens are missing")


def _is_logprob(value: Any) -> bool:
    return _number(value) <= 1e-3


def _logprob(value: Any) -> float:
    if not _is_logprob(value):
        raise Malformed(f"{str(value)[:40]} is no log-prob")
    return _number(value)


def _number(value: Any) -> float:
    """Return a number, also where a server writes it as text; NaN for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return math.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan


def _read_token(entry: Mapping[str, Any]) -> str:
    """Read a token's text: from its bytes where the text is empty or a number of the vocabulary (``token_id:32``)."""
    token, spelt = str(entry.get("token")), entry.get("bytes")
    if (not token or token.startswith("token_id:")) and isinstance(spelt, list):
        with suppress(ValueError, TypeError):
            return bytes(spelt).decode("utf-8", "replace")
    return token


def _read_count(usage: Mapping[str, Any], names: Sequence[str]) -> int | None:
    for name in names:
        if name in usage and (count := _parse_count(usage[name])) is not None:
            return count
    return None


def _parse_count(value: Any) -> int | None:
    """Parse a count, also as ``5.0`` or ``"5"``, as some servers write it."""
    if type(value) is int:  # no bool
        return value if value >= 0 else None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
        return int(value)
    return int(value) if isinstance(value, float) and 0 <= value < 1e15 and value.is_integer() else None
