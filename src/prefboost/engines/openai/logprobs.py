"""Log-probs in replies of OpenAI-compatible servers: of choices, and of completions that were sent."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from prefboost.engines.openai.replies import Malformed, Unavailable, list_choices, read_prompt_length

__all__ = [
    "LOGPROBS_READER",
    "log_sum",
    "read_choice_logprobs",
    "read_echoed_logprob",
    "read_prompt_logprob",
    "token_text",
]

LOGPROBS_READER = 2
"""Version of how log-probs are read, part of every key of theirs. Version 1 took choices that a server does not list
for impossible, whatever it left out."""

_NEARLY_ALL = 0.95
"""Probability of one token beside which those that are not listed play no part."""


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
    listed = list_choices(reply)[0].get("logprobs")
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
        # " A" and "A" are two tokens and one answer: their probabilities add up.
        masses.setdefault(token_text(token), []).append(value)
    return tuple(log_sum([_logprob(value) for value in masses.get(choice.strip(), [])]) for choice in choices)


def token_text(token: str) -> str:
    """Return a token's text without the blank before it, in any vocabulary's spelling (``Ġ1``, ``▁1``, ``<0x31>``)."""
    byte = re.fullmatch(r"<0x([0-9A-Fa-f]{2})>", token)
    return chr(int(byte[1], 16)).strip() if byte else token.strip(" \t\r\n\u00a0ĠĊĉ▁")


def read_echoed_logprob(reply: Any, start: int) -> float:
    """Sum the log-probs of a prompt's tokens from ``start`` on, from ``/completions`` with ``echo``.

    Args:
        reply: with ``logprobs.token_logprobs`` of the echoed prompt and of what was written behind it.
        start: position of the first token that counts.

    Raises:
        Malformed: too few log-probs, or no number.
        Unavailable: the server does not echo log-probs.
    """
    logprobs = list_choices(reply)[0].get("logprobs")
    values = logprobs.get("token_logprobs") if isinstance(logprobs, Mapping) else None
    # A token must be written behind what is echoed, and it is not part of the completion.
    end = read_prompt_length(reply)
    if not isinstance(values, list) or len(values) <= 1:
        raise Unavailable("the server gives no log-probs of what it is told to echo (vLLM does)")
    if len(values) < end:
        raise Malformed(f"{end} tokens have {len(values)} log-probs")
    # The first token has no log-prob: nothing precedes it.
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
    # ChatML's templates write a newline behind the end of a turn; no model writes it, and local engines do not count
    # it.
    while entries and str(entries[-1].get("decoded_token") or "x").isspace():
        entries.pop()
    return math.fsum(_logprob(entry.get("logprob")) for entry in entries)


def log_sum(values: Sequence[float]) -> float:
    """Return the log of a sum of probabilities given as logs; -inf for none."""
    top = max(values, default=-math.inf)
    # Scaled by the largest: exp() of log-probs below -745 is 0, and the log of 0 an error.
    return top if top == -math.inf else top + math.log(math.fsum(math.exp(value - top) for value in values))


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
    # Rounding may put a sure token's log-prob a little above 0.
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
