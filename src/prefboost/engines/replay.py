"""The replay engine: completions that were recorded, for documentation, tests and analyses without a model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from prefboost.chat import to_record
from prefboost.engines.budget import Ledger
from prefboost.engines.engine import Failure, FinishReason, Messages, Outcome, Request, Result, Sampling
from prefboost.errors import ModelError, Place, UnreadableFile
from prefboost.settings import Settings

__all__ = ["Replay", "ReplayEngine"]


class Replay(Settings):
    """Completions out of a JSON-lines file, as ``prefboost generate -o FILE.jsonl`` writes it."""

    kind: Literal["replay"] = Field("replay", description="Recorded completions instead of a model.")
    path: str = Field(description="JSON lines with prompt, completion and possibly goal, finish_reason and tokens.")

    def open(self) -> ReplayEngine:
        """Open the engine."""
        return ReplayEngine(self)


class ReplayEngine:
    """See `prefboost.engines.engine.Engine`. A prompt's n-th record with a goal is its n-th sample for that goal.

    Sampling plays no part: what was recorded is given.

    Args:
        settings: the file.

    Raises:
        UnreadableFile: it cannot be read, or a line is no record of a completion.
    """

    says_goals = True
    remote = False
    context = None

    def __init__(self, settings: Replay) -> None:
        self.path = settings.path
        self.ledger = Ledger()
        self._recorded: dict[str, list[Result]] = {}
        try:
            lines = Path(settings.path).read_bytes().splitlines()
        except OSError as error:
            raise UnreadableFile(
                f"the recorded completions cannot be read: {error.strerror}",
                remedy="give the JSON lines that `prefboost generate -o FILE.jsonl` wrote",
                place=Place(settings.path),
            ) from error
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                record: dict[str, Any] = json.loads(line)
                goal = record.get("goal")
                aspects = {
                    name.removeprefix("goal."): float(value)
                    for name, value in record.items()
                    if name.startswith("goal.") and value is not None
                }
                goal = None if goal is None else float(goal)
                request = Request(_messages(record["prompt"], "user"), goal=goal, aspects=aspects)
                text = "\n".join(message["content"] for message in _messages(record["completion"], "assistant"))
                reason: FinishReason = "length" if record.get("finish_reason") == "length" else "stop"
                tokens = record.get("tokens")
                counted = len(text.split()) if tokens is None else int(tokens)
                counts = (self.prompt_tokens([request])[0], counted)
                result = Result.from_text(text, reason, counts, reasoning=record.get("reasoning"))
                # Records of one prompt and goal are its samples, in the order of the file.
                self._recorded.setdefault(self.render(request), []).append(result)
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise UnreadableFile(
                    f"this is no record of a completion ({type(error).__name__}: {error})",
                    remedy='a line is {"prompt": [messages], "completion": [messages], "goal": 7}',
                    place=Place(self.path, line=number),
                ) from error

    @cached_property
    def identity(self) -> str:
        """Fingerprint of the file."""
        return f"replay/{hashlib.sha256(Path(self.path).read_bytes()).hexdigest()[:16]}"

    def render(self, request: Request) -> str:
        """Render messages and goal as JSON."""
        # 7 and 7.0 are one goal, and JSON writes them differently.
        goal = None if request.goal is None or request.goal is False else float(request.goal)
        aspects = {name: float(value) for name, value in request.aspects.items()}
        goals = [goal, aspects] if aspects else [goal]
        parts = [[to_record(message) for message in request.prompt], *goals, *request.tool_fields.values()]
        return json.dumps(parts, sort_keys=True)

    def render_conversation(self, messages: Messages) -> str:
        """Render messages as JSON."""
        return self.render(Request(messages))

    def prompt_tokens(self, requests: Sequence[Request]) -> list[int]:
        """Count the words of each prompt: there is no tokenizer."""
        return [sum(len(str(message["content"]).split()) for message in request.prompt) for request in requests]

    def plan(self, requests: Sequence[Request], sampling: Sampling) -> list[list[int]]:
        """Put all requests into one batch."""
        return [list(range(len(requests)))] if requests else []

    def generate(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[tuple[int, Outcome]]:
        """Yield recorded completions in the order of the requests; a row that was not recorded is a Failure."""
        for index, request in enumerate(requests):
            results = self._recorded.get(self.render(request), [])
            if request.sample >= len(results):
                goal = "no goal" if request.goal in (None, False) else f"goal {request.goal:g}"
                goal += "".join(f", {name} {value:g}" for name, value in sorted(request.aspects.items()))
                count = f"{len(results)} completion{'s' * (len(results) != 1)}"
                reason = f"{self.path} has {count} of this prompt with {goal}, number {request.sample + 1} is asked for"
                yield index, Failure(reason, 0, permanent=True)
                continue
            yield index, results[request.sample]

    def logprob_of(self, requests: Sequence[Request], completions: Sequence[Messages]) -> list[float]:
        """Refuse: no log-probs can be had here.

        Raises:
            ModelError: always.
        """
        raise ModelError("recorded completions have no log-probs", remedy="use a local engine")

    def logprobs_of(
        self, requests: Iterable[Request], choices: Sequence[str]
    ) -> Iterator[tuple[int, tuple[float, ...]]]:
        """Refuse: no log-probs can be had here.

        Raises:
            ModelError: always.
        """
        raise ModelError(f"recorded completions have no log-probs of {choices!r}", remedy="use a local engine")


def _messages(value: Any, role: str) -> list[dict[str, Any]]:
    if isinstance(value, str):
        return [{"role": role, "content": value}]
    if not all(isinstance(item[name], str) for item in value for name in ("role", "content")):
        raise TypeError("a message's role or content is no text")
    return [{"role": item["role"], "content": item["content"]} for item in value]
