"""What OpenAI-compatible servers answer, read with suspicion: bodies to results, log-probs and token counts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from prefboost.engines.engine import FinishReason, Result

__all__ = [
    "READER",
    "Malformed",
    "Refused",
    "Unavailable",
    "choice_logprobs",
    "echoed_logprob",
    "estimated_tokens",
    "log_sum",
    "most_tokens",
    "prompt_length",
    "prompt_logprob",
    "results_of",
    "usage_of",
]


READER = 1
"""Version of how replies are read. Part of every key of a server's answer: raise it where the same reply is read into
another answer than before, so that answers of the older reading are not taken for it."""


class Malformed(Exception):
    """The reply is not what was asked for; asking again may help."""


class Refused(Exception):
    """The server or model declined this row; asking again is useless."""


class Unavailable(Exception):
    """The server does not offer this at all."""


_FINISHED: Mapping[str, FinishReason] = {
    "stop": "stop", "eos": "stop", "eos_token": "stop", "end_turn": "stop", "length": "length", "max_tokens": "length",
}  # fmt: skip


def results_of(reply: Any, rendered: str) -> list[Result]:
    """The completions of a reply of ``/chat/completions`` or ``/completions``, at least one.

    Args:
        reply: the body.
        rendered: the prompt, by which tokens are estimated where the server does not count them.

    Raises:
        Malformed: a choice is missing, has no text or no reason to have ended.
        Refused: the model declined, called a tool, or was filtered.
    """
    choices = sorted(_choices(reply), key=lambda choice: _whole(choice.get("index")) or 0)
    texts = [_text(choice) for choice in choices]
    reasons = [_finish(choice) for choice in choices]
    read, written = usage_of(reply, estimated_tokens(rendered), [estimated_tokens(text) for text in texts])
    share, rest = divmod(written, len(texts))
    return [
        Result(text, reason, read, share + (at < rest))
        for at, (text, reason) in enumerate(zip(texts, reasons, strict=True))
    ]


def usage_of(reply: Any, prompt_estimate: int, estimates: Sequence[int]) -> tuple[int, int]:
    """Tokens read and written, as the server counts them; estimates where it does not."""
    usage = reply.get("usage") if isinstance(reply, Mapping) else None
    usage = usage if isinstance(usage, Mapping) else {}
    read, written = _whole(usage.get("prompt_tokens")), _whole(usage.get("completion_tokens"))
    return prompt_estimate if read is None else read, sum(estimates) if written is None else written


def choice_logprobs(reply: Any, choices: Sequence[str]) -> tuple[float, ...]:
    """Log-prob of each choice as the first token: tokens that differ in blanks around them count together.

    Args:
        reply: of one token with its likeliest alternatives.
        choices: texts.

    Returns:
        nats; -inf where no token named is the choice.

    Raises:
        Malformed: no number where a log-prob should be.
        Unavailable: there are no log-probs.
    """
    found = _choices(reply)[0].get("logprobs")
    if not isinstance(found, Mapping):
        raise Unavailable("the server gives no log-probs of the tokens it writes")
    masses: dict[str, list[float]] = {}
    for token, value in _alternatives(found):
        masses.setdefault(token.strip(), []).append(_logprob(value))
    return tuple(log_sum(masses.get(choice.strip(), [])) for choice in choices)


def prompt_length(reply: Any) -> int:
    """Tokens of the prompt, as the server counts them.

    Raises:
        Unavailable: it does not.
    """
    read, _ = usage_of(reply, 0, [0])
    if read == 0:
        raise Unavailable("the server does not count the tokens of prompts")
    return read


def echoed_logprob(reply: Any, start: int) -> float:
    """Log-prob of the tokens of a prompt from ``start`` on, from ``/completions`` with ``echo``.

    Args:
        reply: with ``logprobs.token_logprobs`` of the echoed prompt and of what was written behind it.
        start: position of the first token that counts.

    Raises:
        Malformed: too few log-probs, or no number.
        Unavailable: the server does not echo log-probs.
    """
    found = _choices(reply)[0].get("logprobs")
    values = found.get("token_logprobs") if isinstance(found, Mapping) else None
    end = prompt_length(reply)
    if not isinstance(values, list) or len(values) <= 1:
        raise Unavailable("the server gives no log-probs of what it is told to echo (vLLM does)")
    if len(values) < end:
        raise Malformed(f"{end} tokens have {len(values)} log-probs")
    return math.fsum(_logprob(value) for value in values[max(start, 1) : end])


def prompt_logprob(reply: Any, start: int) -> float:
    """Log-prob of the tokens of a prompt from ``start`` on, from vLLM's ``prompt_logprobs: 0``.

    White space that the chat template adds after the token that ends the turn is left out.

    Raises:
        Malformed: no number where a log-prob should be.
        Unavailable: the server gives none.
    """
    found = reply.get("prompt_logprobs") if isinstance(reply, Mapping) else None
    if not isinstance(found, list):
        raise Unavailable("the server gives no log-probs of prompts (vLLM does)")
    rows = [
        next(iter(entry.values()), None) if isinstance(entry, Mapping) else None for entry in found[max(start, 1) :]
    ]
    entries = [row for row in rows if isinstance(row, Mapping)]
    if len(entries) < len(rows):
        raise Malformed("a token of the prompt has no log-prob")
    while entries and str(entries[-1].get("decoded_token") or "x").isspace():
        entries.pop()
    return math.fsum(_logprob(entry.get("logprob")) for entry in entries)


def estimated_tokens(text: str) -> int:
    """About how many tokens a text has: a token is some four bytes of English and its like."""
    return -(-len(text.encode("utf-8", "replace")) // 4)


def most_tokens(text: str, messages: int) -> int:
    """No prompt has more tokens: each is a byte or more, and room is left for what the template adds to messages."""
    return len(text.encode("utf-8", "replace")) + 16 * messages + 64


def log_sum(values: Sequence[float]) -> float:
    """Log of the sum of probabilities given as logs; -inf for none."""
    top = max(values, default=-math.inf)
    return top if top == -math.inf else top + math.log(math.fsum(math.exp(value - top) for value in values))


def _choices(reply: Any) -> list[Mapping[str, Any]]:
    choices = reply.get("choices") if isinstance(reply, Mapping) else None
    if not isinstance(choices, list) or not choices or not all(isinstance(choice, Mapping) for choice in choices):
        raise Malformed("the reply has no choices")
    return choices


def _text(choice: Mapping[str, Any]) -> str:
    message = choice.get("message")
    if not isinstance(message, Mapping):
        message = {"content": choice.get("text")}
    if message.get("refusal"):
        raise Refused(f"the model declined: {str(message['refusal'])[:120]}")
    content = message.get("content")
    if content is None and message.get("tool_calls"):
        raise Refused("the model called a tool instead of answering")
    if content is None and _FINISHED.get(str(choice.get("finish_reason"))) == "length":
        content = ""  # every token went into reasoning that is not shown
    if not isinstance(content, str):
        raise Malformed("a choice has no text")
    return content.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _finish(choice: Mapping[str, Any]) -> FinishReason:
    reason = choice.get("finish_reason")
    if reason == "content_filter":
        raise Refused("the server's content filter cut the completion")
    if not isinstance(reason, str) or reason not in _FINISHED:
        raise Malformed(f"a choice ended for the reason {str(reason)[:40]!r}")
    return _FINISHED[reason]


def _alternatives(found: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """(token, log-prob) of the likeliest first tokens, in the chat form or the older one."""
    content, older = found.get("content"), found.get("top_logprobs")
    if isinstance(content, list) and content:
        top = content[0].get("top_logprobs") if isinstance(content[0], Mapping) else None
        if isinstance(top, list) and all(isinstance(each, Mapping) for each in top):
            return [(str(each.get("token")), each.get("logprob")) for each in top]
    if isinstance(older, list) and older and isinstance(older[0], Mapping):
        return list(older[0].items())
    raise Malformed("the likeliest tokens are missing")


def _logprob(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value) or value > 1e-3:
        raise Malformed(f"{str(value)[:40]} is no log-prob")
    return float(value)


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
