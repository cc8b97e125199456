"""The engine protocol: requests in, completions out, each row's sample fixed by its own seed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol

from pydantic import Field

from prefboost.chat.messages import to_record, tools_of
from prefboost.engines.budget import Ledger
from prefboost.engines.reasoning import join_reasoning, separate_reasoning
from prefboost.settings import Settings

__all__ = [
    "Engine",
    "Failure",
    "FinishReason",
    "Messages",
    "Outcome",
    "Request",
    "Result",
    "Sampling",
    "SendsBodies",
    "renders_goals",
    "row_seed",
]

Messages = Sequence[Mapping[str, Any]]
FinishReason = Literal["stop", "length"]

_ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=True)


class Sampling(Settings):
    """Rule by which tokens are drawn: temperature first, then the nucleus (arXiv 1904.09751)."""

    temperature: float = Field(0.8, ge=0.0, description="Divides the logits; 0 always takes the likeliest token.")
    top_p: float = Field(0.95, gt=0.0, le=1.0, description="Draw among the likeliest tokens of this probability.")
    max_tokens: int = Field(256, ge=1, description="Most tokens a completion may have; longer ones are cut.")
    seed: int = Field(0, description="Another seed draws other completions.")


@dataclass(frozen=True)
class Request:
    """One completion that is wanted.

    Args:
        prompt: messages, ending with a user or tool turn.
        sample: which of several completions of the prompt, from 0.
        goal: passed to the chat template of a checkpoint that says goals by itself: a score; False: nothing is said;
            None: the template's own default.
        json_schema: a JSON schema, as JSON text, that the completion is to follow where the engine can hold a model to
            one; elsewhere only what the prompt says of it counts.
        aspects: passed to the same template: aspect -> score; none: the template's own default.
    """

    prompt: Messages
    sample: int = 0
    goal: float | Literal[False] | None = None
    json_schema: str | None = None
    aspects: Mapping[str, float] = field(default_factory=dict)

    @property
    def template_options(self) -> dict[str, Any]:
        """What is passed to ``apply_chat_template`` beside the messages."""
        return {**self.goal_fields, **self.tool_fields}

    @property
    def goal_fields(self) -> dict[str, Any]:
        """The goals under the names that a saved policy's template gives them."""
        goal = {} if self.goal is None else {"goal": self.goal}
        return {**goal, "aspects": dict(self.aspects)} if self.aspects else goal

    @property
    def tool_fields(self) -> dict[str, Any]:
        """The tools that the conversation offers, under the name that templates and servers give them."""
        # Tools belong to the conversation, not to a message; they lie in its first message's extra.
        tools = tools_of(self.prompt)
        return {} if tools is None else {"tools": tools}

    @cached_property
    def json_text(self) -> str:
        """The messages as JSON, and the tools behind them where there are any."""
        # Written once: a server's row needs it for its key, its seed, its estimate and its call.
        messages = [*map(to_record, self.prompt), *([self.tool_fields] if self.tool_fields else [])]
        return _ENCODER.encode(messages)


@dataclass(frozen=True)
class Result:
    """One completion. Thoughts that stand in the text are moved to ``reasoning``, whoever makes a result.

    Args:
        text: what the model answers, without the token that ends the turn.
        finish_reason: stop: the model ended its turn; length: it was cut at ``max_tokens``.
        prompt_tokens: length of the rendered prompt.
        tokens: tokens generated, the one that ends the turn and those of thoughts included.
        reasoning: what the model thought before it answered; None: it shows no thoughts. Never part of a completion.
    """

    text: str
    finish_reason: FinishReason
    prompt_tokens: int
    tokens: int
    reasoning: str | None = None

    def __post_init__(self) -> None:
        # A result with reasoning has been through this already, so what its text still holds is quoted, not thought.
        if self.reasoning is None:
            spoken = separate_reasoning(self.text)
            object.__setattr__(self, "text", spoken.answer)
            object.__setattr__(self, "reasoning", spoken.reasoning)

    @classmethod
    def from_text(
        cls,
        text: str,
        finish_reason: FinishReason,
        counts: tuple[int, int],
        *,
        reasoning: str | None = None,
        opened: bool = False,
    ) -> Result:
        """Build a result from a text, separating thoughts from the answer.

        Args:
            text: as the model wrote it.
            finish_reason: see the class.
            counts: tokens of the prompt, and tokens generated.
            reasoning: thoughts that came beside the text.
            opened: whether the prompt ended inside a thought (`prefboost.engines.reasoning.opens_reasoning`).
        """
        spoken = separate_reasoning(text, opened=opened)
        return cls(spoken.answer, finish_reason, *counts, join_reasoning(reasoning, spoken.reasoning))

    @property
    def only_thinks(self) -> bool:
        """Whether there is no answer behind the thoughts."""
        return self.reasoning is not None and not self.text.strip()

    @property
    def completion(self) -> list[dict[str, Any]]:
        """The completion as messages of a table."""
        return [{"role": "assistant", "content": self.text, "extra": None}]


@dataclass(frozen=True)
class Failure:
    """A row that could not be had; it stops no other.

    Args:
        reason: what happened last, without secrets.
        attempts: calls made for it.
        permanent: asking again as it is set up is useless: the server understood and refused.
        content: what it refused is the row's text, which no other setting cures.
        unavailable: the server answered, without the log-probs that were asked for.
    """

    reason: str
    attempts: int
    permanent: bool = False
    content: bool = False
    unavailable: bool = False


Outcome = Result | Failure


class SendsBodies(Protocol):
    """An engine that asks a server: all that an answer depends on stands in the body that is sent."""

    def generation_body(self, request: Request, sampling: Sampling) -> Mapping[str, Any]:
        """Return exactly the body that is sent for one completion."""

    def choices_body(self, request: Request) -> Mapping[str, Any]:
        """Return exactly the body that is sent for the log-probs of choices."""

    def generate_batches(
        self, requests: Iterable[Request], sampling: Sampling
    ) -> Generator[list[tuple[int, Outcome]], None, None]:
        """See `Engine.generate`: all together that finished together, to be kept in one go."""

    def logprobs_batches(
        self, requests: Iterable[Request], choices: Sequence[str]
    ) -> Generator[list[tuple[int, tuple[float, ...] | Failure]], None, None]:
        """See `Engine.logprobs_of`: all together that finished together."""


class Engine(Protocol):
    """Completes prompts.

    A row's completion depends on the engine's ``identity``, the rendered prompt, the sampling and the sample's number.
    Where arithmetic differs in its last bits between batches, so may a row: that is why batches are planned from all
    requests at once, and an interrupted run repeats whole batches (`prefboost.engines.store.reuse`).
    """

    ledger: Ledger
    """Cost of calls so far, and their budget; set it before generating."""

    @property
    def identity(self) -> str:
        """Names the model, its weights and number type."""

    @property
    def says_goals(self) -> bool:
        """Whether the checkpoint's chat template says goals by itself (``Request.goal``)."""

    @property
    def context(self) -> int | None:
        """Most tokens, of prompt and completion, that the model can see; None: not known."""

    @property
    def remote(self) -> bool:
        """Whether a server completes the rows, each by itself.

        Then `generate` takes requests as it gets to them, settles each call with the ledger, and counts of prompt
        tokens before a call are estimates. Else rows of a planned batch are completed and stored together.
        """

    def render(self, request: Request) -> str:
        """Render the prompt as the model sees it.

        Raises:
            ModelError: the chat template refuses the messages.
        """

    def render_conversation(self, messages: Messages) -> str:
        """Render a whole conversation as the model sees it, without a goal (to probe the chat template)."""

    def prompt_tokens(self, requests: Sequence[Request]) -> list[int]:
        """Count the tokens of each rendered prompt."""

    def plan(self, requests: Sequence[Request], sampling: Sampling) -> list[list[int]]:
        """Group indices of requests that are completed together. Planning a planned batch again gives one batch."""

    def generate(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[tuple[int, Outcome]]:
        """Complete every request: in the order of the plan, or, where the engine is remote, as they finish.

        Yields:
            the request's index, and its completion or why there is none. A remote engine whose budget does not allow
            another call ends early, and its ledger says so.
        """

    def logprobs_of(
        self, requests: Iterable[Request], choices: Sequence[str]
    ) -> Iterator[tuple[int, tuple[float, ...] | Failure]]:
        """Yield the log-prob of each choice as what the assistant says first (for judges and raters).

        Args:
            requests: prompts; sampling plays no part.
            choices: short texts that begin with different tokens, e.g. A and B, or 1 to 9.

        Yields:
            the request's index, and a log-prob (nats) for each choice; -inf for a choice that is not among the likely
            tokens a server names. Temperature 1, nucleus 1.

        Raises:
            ModelError: the engine gives none.
        """

    def logprob_of(self, requests: Sequence[Request], completions: Sequence[Messages]) -> list[float]:
        """Compute the log-prob of each completion given its prompt: nats, summed over tokens, end of turn included.

        NaN for a row that could not be had and stops no other.

        Raises:
            ModelError: the engine gives none.
        """


def renders_goals(render: Callable[[Request], str]) -> bool:
    """Return whether another goal of a request changes its rendered prompt."""
    prompt = [{"role": "user", "content": "Hello"}]
    return render(Request(prompt, goal=3.0)) != render(Request(prompt, goal=7.0))


def row_seed(sampling: Sampling, rendered: str, sample: int) -> int:
    """Derive a 128-bit seed from the sampling's seed, the prompt and the sample's number, and nothing else."""
    # Zero bytes part the fields: seed 1, sample 23 and seed 12, sample 3 are two rows.
    text = f"{sampling.seed}\0{sample}\0{rendered}"
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:16], "little")
