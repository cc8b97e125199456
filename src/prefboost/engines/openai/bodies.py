"""Bodies of calls to an OpenAI-compatible server. All that an answer depends on stands in them: they are its key."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from prefboost.chat import to_record
from prefboost.engines.engine import Request, Sampling, row_seed

if TYPE_CHECKING:
    from prefboost.engines.openai.engine import OpenAICompatible

__all__ = ["Bodies", "Numbered", "group_samples"]

_TOP = 20
"""Likeliest tokens that are asked for: the most that servers give."""


class Bodies:
    """Builds bodies as the settings of an engine shape them.

    Args:
        settings: of the engine.
        render: the prompt of a request as text, which is sent for completions.
    """

    def __init__(self, settings: OpenAICompatible, render: Callable[[Request], str]) -> None:
        self._settings = settings
        self._render = render

    def ask_completions(self, requests: Sequence[Request], sampling: Sampling, rendered: str) -> dict[str, Any]:
        """Build the body that asks for completions of one prompt, one per request."""
        first = requests[0]
        body = self._prompt_fields(first, rendered) | self._limit(sampling.max_tokens)
        body |= {"temperature": sampling.temperature, "top_p": sampling.top_p}
        # Fits into 32 signed bits, as the narrowest servers keep a seed.
        body["seed"] = row_seed(sampling, rendered, first.sample) % 2**31
        if len(requests) > 1:
            body["n"] = len(requests)
        if first.json_schema is not None:
            schema = {"name": "answer", "strict": True, "schema": json.loads(first.json_schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        return self._apply_settings(body)

    def ask_choices(self, request: Request) -> dict[str, Any]:
        """Build the body that asks for the likeliest first tokens."""
        is_chat = self._settings.api == "chat"
        # The two interfaces say the same in different fields: the older one takes the number where chat takes a flag.
        top = {"logprobs": True, "top_logprobs": _TOP} if is_chat else {"logprobs": _TOP}
        fields = {"temperature": 1.0, "top_p": 1.0, **self._limit(1), **top}
        return self._apply_settings(self._prompt_fields(request) | fields)

    def ask_length(self, request: Request) -> dict[str, Any]:
        """Build the body that asks for the prompt's length, which servers tell with an answer alone."""
        return self._apply_settings(self._prompt_fields(request) | self._limit(1))

    def ask_echo(self, text: str) -> dict[str, Any]:
        """Build the body that asks for the log-probs of a text's tokens."""
        body = {"model": self._settings.model, "prompt": text, "echo": True, "logprobs": 1}
        return self._apply_settings(body | self._limit(1))

    def ask_prompt_logprobs(self, request: Request) -> dict[str, Any]:
        """Build the body that asks vLLM for the log-probs of a conversation's tokens."""
        # Without a generation prompt, so that nothing stands behind the completion whose log-prob is summed.
        body = self._prompt_fields(request) | {"prompt_logprobs": 0, "add_generation_prompt": False}
        return self._apply_settings(body | self._limit(1))

    def _prompt_fields(self, request: Request, rendered: str | None = None) -> dict[str, Any]:
        if self._settings.api == "completions":
            text = self._render(request) if rendered is None else rendered
            return {"model": self._settings.model, "prompt": text}
        messages = [to_record(message) for message in request.prompt]
        return {"model": self._settings.model, "messages": messages, **request.tool_fields}

    def _limit(self, tokens: int) -> dict[str, Any]:
        return {self._settings.max_tokens_field: tokens}

    def _apply_settings(self, body: dict[str, Any]) -> dict[str, Any]:
        """Add the fields of the settings to a body, and remove those that they leave out."""
        # In this order: a user may leave a field out and give it another value in extra.
        fields = {name: value for name, value in body.items() if name not in self._settings.leave_out}
        return fields | self._settings.extra


Numbered = list[tuple[int, Request]]
"""Requests of one call, with their indices."""


def group_samples(requests: Iterable[tuple[int, Request]], most: int) -> Iterator[Numbered]:
    """Put requests that follow each other and differ in their sample alone together; each is taken when it is needed.

    Args:
        requests: with their indices.
        most: requests of a group.
    """
    group: Numbered = []
    for index, request in requests:
        # Compared with the sample's number made equal, so that a new field of a request is never forgotten here.
        if group and (len(group) == most or group[0][1] != replace(request, sample=group[0][1].sample)):
            yield group
            group = []
        group.append((index, request))
        if len(group) == most:
            yield group
            group = []
    if group:
        yield group
