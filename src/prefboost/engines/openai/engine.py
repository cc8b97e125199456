"""Servers that speak OpenAI's HTTP interface: vLLM serve, SGLang, llama.cpp's server, Ollama, hosted ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from pydantic import Field, field_validator, model_validator

from prefboost.chat import to_record
from prefboost.engines.budget import Ledger
from prefboost.engines.engine import Failure, Messages, Outcome, Request, Result, Sampling, renders_goals
from prefboost.engines.openai.background import BackgroundLoop
from prefboost.engines.openai.bodies import Bodies, Numbered, group_samples
from prefboost.engines.openai.calls import BudgetSpent, Caller, Question, make_redactor
from prefboost.engines.openai.clients import Clients, check_addresses, read_key
from prefboost.engines.openai.logprobs import read_choice_logprobs, read_echoed_logprob, read_prompt_logprob
from prefboost.engines.openai.pacing import CallLimits
from prefboost.engines.openai.replicas import Replicas
from prefboost.engines.openai.replies import (
    estimate_tokens,
    limit_prompt_tokens,
    read_prompt_length,
    read_results,
)
from prefboost.engines.openai.weights import HandOver, name_new_weights
from prefboost.engines.reasoning import opens_reasoning
from prefboost.errors import ModelError, RunError, SettingsError

if TYPE_CHECKING:
    from prefboost.engines.local.engine import LocalEngine

__all__ = ["OpenAICompatible", "OpenAICompatibleEngine"]

T = TypeVar("T")

_ADDRESS = "http://localhost:8000/v1"  # where `vllm serve` listens unless it is told otherwise


class OpenAICompatible(CallLimits):
    """A server that speaks OpenAI's HTTP interface."""

    kind: Literal["openai_compatible"] = Field("openai_compatible", description="Asks a server over HTTP.")
    model: str = Field(description="The model's name on the server.")
    base_url: str = Field(_ADDRESS, description="Address up to /v1, without keys in it.")
    base_urls: tuple[str, ...] = Field(
        (), description="Addresses of several servers with the same model, which share the calls; replaces base_url."
    )
    api_key_env: str | None = Field(
        None, description="Name of the environment variable that holds the key; none is sent where this is null."
    )
    api: Literal["chat", "completions"] = Field(
        "chat", description="chat: the server applies its chat template; completions: the tokenizer's is applied here."
    )
    tokenizer: str | None = Field(
        None,
        description="Folder or hub id whose chat template renders prompts for api: completions; for api: chat its "
        "tokens are counted in forecasts.",
    )
    revision: str | None = Field(None, description="Names the weights behind the model's name, to tell rows apart.")
    hand_over: HandOver | None = Field(
        None, description="How vLLM takes weights: lora beside its model, reload in its place; none: it has them."
    )
    weights: str | None = Field(
        None, description="Folder of weights (lora: an adapter) that all servers see; on-policy rounds set it."
    )
    context: int | None = Field(
        None, ge=1, description="Most tokens, of prompt and completion, that the model can see."
    )
    choices: int = Field(
        1, ge=1, description="Most samples of a prompt asked for in one call; more than 1 share one call's seed."
    )
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = Field(
        "max_tokens", description="Name of the field with the limit of a completion."
    )
    leave_out: tuple[str, ...] = Field((), description="Fields that the server does not take, e.g. seed, top_p.")
    extra: dict[str, Any] = Field({}, description="Further fields of every call's body, e.g. reasoning_effort: low.")

    @field_validator("base_url", "base_urls")
    @classmethod
    def _check_addresses(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        addresses = check_addresses([value] if isinstance(value, str) else value)
        return addresses[0] if isinstance(value, str) else tuple(addresses)

    @model_validator(mode="after")
    def _check_what_goes_together(self) -> Self:
        if self.base_urls and self.base_url != _ADDRESS:
            raise ValueError("base_url and base_urls exclude each other: put all addresses into base_urls")
        if self.weights is not None and self.hand_over is None:
            raise ValueError("weights: say in hand_over how the servers take them, lora or reload")
        return self

    def open(self) -> OpenAICompatibleEngine:
        """Open the engine; the server is first asked when something is to be completed."""
        return OpenAICompatibleEngine(self)


class OpenAICompatibleEngine:
    """See `prefboost.engines.engine.Engine`.

    A row that fails after all attempts, or that the server refuses, is a Failure and stops no other. Whether the same
    seed gives the same completion is the server's affair.

    Args:
        settings: which model where, and how hard the server is pressed.

    Raises:
        SettingsError: the environment variable with the key is not set, or completions have no tokenizer.
    """

    remote = True

    def __init__(self, settings: OpenAICompatible) -> None:
        self._weights, settings = name_new_weights(settings)
        self.settings = settings
        self.ledger = Ledger()
        self.answered_as: set[tuple[str, str]] = set()
        """Names and system fingerprints that the server has given in its replies."""
        self._key = read_key(settings.api_key_env)
        self._bodies = Bodies(settings, self.render)
        self._follows_schemas = True
        self._faults_of_replicas: dict[str, str] = {}
        if settings.api == "completions" and settings.tokenizer is None:
            raise SettingsError(
                "api: completions needs a chat template to render prompts",
                remedy="name the model's folder or hub id in tokenizer, or set api to chat",
            )

    @property
    def identity(self) -> str:
        """Address, model, revision and interface; a server does not show its weights."""
        settings = self.settings
        # Which replica answers is chance, and a stored answer must be found again when others are up. So the word
        # stands in the place of all their addresses, also of one alone, and `revision` tells other weights apart.
        address = "replicas" if settings.base_urls else settings.base_url
        return "/".join([address, settings.model, settings.revision or "", settings.api])

    @property
    def context(self) -> int | None:
        """As the settings say."""
        return self.settings.context

    @cached_property
    def says_goals(self) -> bool:
        """Whether the tokenizer's chat template does; through ``chat`` goals travel in the prompt."""
        return renders_goals(self.render)

    def render(self, request: Request) -> str:
        """Render the messages as JSON, or, for completions, through the tokenizer's chat template."""
        if self._template is not None:
            return self._template.render(request)
        return request.json_text

    def render_conversation(self, messages: Messages) -> str:
        """Render a whole conversation in the same way."""
        if self._template is not None:
            return self._template.render_conversation(messages)
        return self.render(Request(messages))

    def prompt_tokens(self, requests: Sequence[Request]) -> list[int]:
        """Estimate the tokens of each prompt; count them where there is a tokenizer."""
        if self._template is not None:
            return self._template.prompt_tokens(requests)
        if self._count_messages is not None:
            return [self._count_messages([to_record(message) for message in request.prompt]) for request in requests]
        return [sum(estimate_tokens(str(m["content"])) + 4 for m in request.prompt) for request in requests]

    def plan(self, requests: Sequence[Request], sampling: Sampling) -> list[list[int]]:
        """Group samples of one prompt that follow each other, up to ``choices``."""
        groups = group_samples(enumerate(requests), self.settings.choices)
        return [[index for index, _ in group] for group in groups]

    def generate(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[tuple[int, Outcome]]:
        """Complete requests, many at once, as they finish.

        Raises:
            ModelError: the server cannot be reached, refuses the key, or knows no such model.
        """
        with closing(self.generate_batches(requests, sampling)) as batches:
            for batch in batches:
                yield from batch

    def generate_batches(
        self, requests: Iterable[Request], sampling: Sampling
    ) -> Generator[list[tuple[int, Outcome]], None, None]:
        """Yield the same in batches: rows that finished together."""

        # Lazily: requests are claimed in the store as they are drawn from here, and processes that share it share the
        # rest.
        groups = group_samples(enumerate(requests), self.settings.choices)
        jobs = (partial(self.complete_group, group, sampling) for group in groups)
        with closing(self._run_jobs(jobs)) as batches:
            for batch in batches:
                yield [outcome for outcomes in batch for outcome in outcomes]

    def logprobs_of(
        self, requests: Iterable[Request], choices: Sequence[str]
    ) -> Iterator[tuple[int, tuple[float, ...] | Failure]]:
        """Yield the log-prob of each choice as the first token, among the 20 likeliest."""
        with closing(self.logprobs_batches(requests, choices)) as batches:
            for batch in batches:
                yield from batch

    def logprobs_batches(
        self, requests: Iterable[Request], choices: Sequence[str]
    ) -> Generator[list[tuple[int, tuple[float, ...] | Failure]], None, None]:
        """Yield the same in batches: rows that finished together."""
        yield from self._run_jobs(partial(self.weigh_choices, row, choices) for row in enumerate(requests))

    async def complete_group(self, group: Numbered, sampling: Sampling, caller: Caller) -> list[tuple[int, Outcome]]:
        """Complete samples of one prompt in one call; then one by one those that the server left out."""
        results = await self._ask_group([request for _, request in group], sampling, caller)
        if isinstance(results, Failure):
            return [(index, results) for index, _ in group]
        outcomes: list[tuple[int, Outcome]] = [
            (index, result) for (index, _), result in zip(group, results, strict=False)
        ]
        # Those that were paid for are kept where the budget ends here; the ledger says that it is exhausted.
        with suppress(BudgetSpent):
            for index, request in group[len(results) :]:
                alone = await self._ask_group([request], sampling, caller)
                outcomes.append((index, alone if isinstance(alone, Failure) else alone[0]))
        return outcomes

    async def weigh_choices(
        self, row: tuple[int, Request], choices: Sequence[str], caller: Caller
    ) -> tuple[int, tuple[float, ...] | Failure]:
        """Read the log-probs of choices for one request; returns its index too."""
        question = self._make_question(row[1], self.choices_body(row[1]), 1)
        return row[0], await caller.ask(question, lambda reply: read_choice_logprobs(reply, choices))

    def limit_tokens(self, group: Numbered, most_tokens: int) -> tuple[int, int]:
        """Limit the tokens that one call for a group reads and writes; ``most_tokens`` are those of one answer."""
        first = group[0][1]
        return limit_prompt_tokens(self.render(first), len(first.prompt)), most_tokens * len(group)

    def open_caller(self) -> Caller:
        """Open connections to the server, within the limits of the settings; for one event loop."""
        settings = self.settings
        redact = make_redactor(self._key)
        client: Clients | Replicas = (
            Replicas(settings, self._key, redact, self._faults_of_replicas, self._weights)
            if settings.base_urls or self._weights is not None
            else Clients(settings.base_url, self._key, settings)
        )
        return Caller(client, settings, self.ledger, redact, self.answered_as)

    def generation_body(self, request: Request, sampling: Sampling) -> dict[str, Any]:
        """Build the body that asks for one completion: all that the answer depends on, besides the server.

        Where a call asks for several samples at once, how many is part of every one of them.
        """
        body = self._bodies.ask_completions([request], sampling, self.render(request))
        return body | ({"n": self.settings.choices} if self.settings.choices > 1 else {})

    def choices_body(self, request: Request) -> dict[str, Any]:
        """Build the body that asks for the likeliest first tokens."""
        return self._bodies.ask_choices(request)

    def logprob_of(self, requests: Sequence[Request], completions: Sequence[Messages]) -> list[float]:
        """Compute the log-prob of each completion given its prompt (nats): by echo, or vLLM's prompt log-probs.

        NaN where a row failed and others did not.

        Raises:
            ModelError: the server gives none.
            RunError: all calls failed, or the budget is spent.
        """
        pairs = zip(requests, completions, strict=True)
        batches = self._run_jobs(partial(self._logprob, index, *pair) for index, pair in enumerate(pairs))
        rows_by_index = dict(pair for batch in batches for pair in batch)
        failed = [value for value in rows_by_index.values() if isinstance(value, Failure)]
        if failed and all(failure.unavailable for failure in failed) and len(failed) == len(requests):
            raise ModelError(failed[0].reason, remedy="use a server that returns them (vLLM does), or a local engine")
        if len(rows_by_index) < len(requests) or len(failed) == len(requests) > 0:
            reason = failed[0].reason if failed else "the budget is spent"
            missing = len(requests) - len(rows_by_index) + len(failed)
            raise RunError(
                f"{missing} of {len(requests)} log-probs are missing: {reason}",
                remedy="try again, send fewer requests at once (concurrency), or raise the budget",
            )
        rows = (rows_by_index[index] for index in range(len(requests)))
        return [math.nan if isinstance(row, Failure) else float(row) for row in rows]

    @cached_property
    def _template(self) -> LocalEngine | None:
        """A local engine that is asked for nothing but rendering."""
        if self.settings.api == "chat":
            return None
        from prefboost.engines.local.engine import Local

        return Local(model=str(self.settings.tokenizer)).open()

    @cached_property
    def _count_messages(self) -> Callable[[list[dict[str, Any]]], int] | None:
        """How many tokens messages have by the tokenizer that is named for chat."""
        if self.settings.tokenizer is None:
            return None
        from prefboost.engines.models.weights import load_tokenizer, message_tokens

        tokenizer = load_tokenizer(self.settings.tokenizer)
        return lambda messages: message_tokens(tokenizer, messages)

    def _run_jobs(self, jobs: Iterator[Callable[[Caller], Coroutine[Any, Any, T]]]) -> Generator[list[T], None, None]:
        """Run jobs until the budget is spent, and yield what they return; together what finished together."""
        caller = self.open_caller()

        async def within_budget(job: Callable[[Caller], Coroutine[Any, Any, T]]) -> T | None:
            try:
                return await job(caller)
            except BudgetSpent:
                return None

        # Checked before a job is drawn, so that no row is claimed in the store that the budget will not pay for.
        waiting = (partial(within_budget, job) for job in self.ledger.while_allowed(jobs))
        with BackgroundLoop() as loop:
            try:
                with closing(loop.run_jobs(waiting, self.settings.concurrency)) as batches:
                    for batch in batches:
                        if outcomes := [outcome for outcome in batch if outcome is not None]:
                            yield outcomes
                caller.server.check_account()
                self.ledger.close()
            except BaseException:
                loop.wait_for(loop.cancel_jobs())
                # Whatever ended the run is the error to report. Calls that stay booked are too many, never too few.
                with suppress(RunError):
                    self.ledger.close()
                raise
            finally:
                loop.wait_for(caller.client.aclose())

    async def _ask_group(
        self, requests: Sequence[Request], sampling: Sampling, caller: Caller
    ) -> list[Result] | Failure:
        """Ask for samples of one prompt in one call; without a schema where the server refuses it, in whatever words.

        Servers name it response_format, guided decoding, grammar, an unknown field, or not at all: what tells is that
        the same question is answered without it.
        """
        first = requests[0]
        rendered = self.render(first)
        opened = opens_reasoning(rendered)

        async def ask(body: dict[str, Any]) -> list[Result] | Failure:
            question = self._make_question(first, body, sampling.max_tokens * len(requests), rendered)
            return await caller.ask(
                question,
                lambda reply: read_results(reply, rendered, sampling.max_tokens, opened=opened)[: len(requests)],
            )

        body = self._bodies.ask_completions(requests, sampling, rendered)
        plain = {name: value for name, value in body.items() if name != "response_format"}
        has_schema = len(plain) < len(body) and "response_format" not in self.settings.extra
        if not has_schema or not self._follows_schemas:
            return await ask(plain if has_schema else body)
        results = await ask(body)
        # Refused as it is set up, or broken by the grammar that the server makes of a schema.
        words = ("schema", "grammar", "guided", "structured", "response_format")
        if not isinstance(results, Failure) or not (
            (results.permanent and not results.content) or any(word in results.reason.lower() for word in words)
        ):
            return results
        without = await ask(plain)
        # It fails either way, and the first reason is the one that the settings can mend.
        if isinstance(without, Failure):
            return results
        # Only now is the schema known to be at fault: the same question was answered without it.
        self._follows_schemas = False
        return without

    async def _logprob(
        self, index: int, request: Request, completion: Messages, caller: Caller
    ) -> tuple[int, float | Failure]:
        """Make two calls: the prompt's length in tokens, and the log-probs of all that follow it."""
        bodies = self._bodies
        start = await caller.ask(self._make_question(request, bodies.ask_length(request), 1), read_prompt_length)
        if isinstance(start, Failure):
            return index, start
        whole = Request([*request.prompt, *completion])
        if self._template is not None:
            # Two calls, since nobody here knows how the server's tokenizer cuts the text: the first one tells where the
            # completion begins.
            text = "".join(self._template.render_ended_turn(request, completion))
            question = self._make_question(whole, bodies.ask_echo(text), 1)
            return index, await caller.ask(question, lambda reply: read_echoed_logprob(reply, start))
        question = self._make_question(whole, bodies.ask_prompt_logprobs(whole), 1)
        return index, await caller.ask(question, lambda reply: read_prompt_logprob(reply, start))

    def _make_question(
        self, request: Request, body: dict[str, Any], most_written: int, rendered: str | None = None
    ) -> Question:
        path = "/chat/completions" if self.settings.api == "chat" else "/completions"
        text = self.render(request) if rendered is None else rendered
        return Question(path, body, estimate_tokens(text), limit_prompt_tokens(text, len(request.prompt)), most_written)
