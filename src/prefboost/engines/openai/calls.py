"""One call to a server: paced, within the budget, tried again with back-off, and every error without secrets."""

from __future__ import annotations

import asyncio
import copy
import itertools
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from prefboost.engines.budget import Ledger
from prefboost.engines.engine import Failure
from prefboost.engines.openai.attempt_errors import AttemptError, trouble_inside
from prefboost.engines.openai.clients import CONNECT_S, Clients, Reply
from prefboost.engines.openai.pacing import CallLimits, RateLimit
from prefboost.engines.openai.replicas import Replicas
from prefboost.engines.openai.replies import Malformed, RefusedRowError, Unavailable, read_usage
from prefboost.engines.openai.server_state import ServerState
from prefboost.settings.secrets import without_secrets

if TYPE_CHECKING:
    import httpx

__all__ = ["BudgetSpent", "Caller", "Question", "make_redactor"]

T = TypeVar("T")

_UNBILLED = range(300, 600)
"""Statuses for which no tokens are charged."""
_LOOK_AGAIN_S = 0.02
_OFFERS = frozenset({"logprobs", "prompt_logprobs", "echo"})
"""Fields of a body that ask for what not every server gives."""


class BudgetSpent(Exception):
    """The budget does not allow this call, and nothing in flight could free any of it."""


@dataclass(frozen=True)
class Question:
    """One request to a server, and bounds of its tokens.

    Args:
        path: below the base address.
        body: sent as JSON.
        prompt_estimate: tokens of the prompt, about.
        most_prompt: tokens that the prompt has at most.
        most_written: tokens that may be written.
    """

    path: str
    body: Mapping[str, Any]
    prompt_estimate: int
    most_prompt: int
    most_written: int


class Caller:
    """Makes calls within limits and a budget; for one event loop.

    Args:
        client: of the server, or of several with the same model, to which all limits and rules apply as to one.
        limits: pace and patience.
        ledger: every attempt is settled with it.
        redact: takes secrets out of a text.
        answered_as: gets the model's name and the system's fingerprint out of every good reply.
    """

    def __init__(
        self,
        client: Clients | Replicas | httpx.AsyncClient,
        limits: CallLimits,
        ledger: Ledger,
        redact: Callable[[str], str],
        answered_as: set[tuple[str, str]] | None = None,
    ) -> None:
        self.client = client
        self.limits = limits
        self.ledger = ledger
        self.redact = redact
        self.server = ServerState(str(client.base_url), limits, redact)
        self.answered_as: set[tuple[str, str]] = set() if answered_as is None else answered_as
        self._requests = RateLimit(limits.requests_per_minute)
        self._tokens = RateLimit(limits.tokens_per_minute)

    def with_ledger(self, ledger: Ledger) -> Caller:
        """Return a caller of the same server, at the same pace, that settles with another ledger."""
        other = copy.copy(self)
        other.ledger = ledger
        return other

    def forgo_burst(self) -> None:
        """Let no calls out at once that the rates allow to a beginner: a caller before this one had them."""
        now = time.monotonic()
        self._requests.forgo_burst(now)
        self._tokens.forgo_burst(now)

    async def ask(self, question: Question, read: Callable[[Any], T]) -> T | Failure:
        """Ask until there is an answer, or until there is no sense in asking again.

        Args:
            question: what to send.
            read: the body to what is wanted; raises Malformed, RefusedRowError or Unavailable.

        Raises:
            BudgetSpent: the budget allows no further attempt.
            ModelError: the server cannot be reached, refuses the key or account, knows no such model or address, or
                row after row ends in the same error with nothing answered in between, or lacks the log-probs that
                were asked for.
        """
        is_prober = False
        failed: set[str] = set()
        if isinstance(self.client, Replicas):
            await self.client.check_models()
        try:
            for attempt in itertools.count(1):
                is_prober = is_prober or (self.server.is_silent() and await self.server.probe())
                try:
                    return await self._attempt(question, read, failed)
                except AttemptError as error:
                    # A row is not given up before every replica that takes calls had it: few attempts may all have met
                    # the same one.
                    is_last = attempt >= self.limits.attempts and error.kind in ("connection", "passing", "address")
                    if is_last and isinstance(self.client, Replicas) and self.client.can_ask_another(failed):
                        continue
                    outcome = self.server.conclude(error, attempt)
                if isinstance(outcome, Failure):
                    return outcome
                await asyncio.sleep(outcome)
        finally:
            if is_prober:
                self.server.end_probe()
        raise AssertionError("attempts are counted without end")

    async def _attempt(self, question: Question, read: Callable[[Any], T], failed: set[str]) -> T:
        """Wait until the pace and the budget allow a call, make it, and settle what it cost."""
        tokens = question.prompt_estimate + question.most_written
        now = time.monotonic()
        wait = max(
            self._requests.wait_s(1, now), self._tokens.wait_s(tokens, now), self.server.paused_until - time.monotonic()
        )
        while wait > 0:
            await asyncio.sleep(wait)
            wait = self.server.paused_until - time.monotonic()
        # One call goes first and shows how this server counts.
        while self.ledger.must_measure:
            await asyncio.sleep(_LOOK_AGAIN_S)
        # Reserved, not only checked: calls in flight could otherwise exceed the budget together.
        most = self.ledger.limit_cost(question.most_prompt, question.most_written)
        # Calls in flight give back what they did not need, so that a refusal is final only where none is left.
        while not self.ledger.reserve(most):
            if self.ledger.exhausted or not self.ledger.in_flight:
                self.ledger.exhausted = True
                raise BudgetSpent
            await asyncio.sleep(_LOOK_AGAIN_S)
            most = self.ledger.limit_cost(question.most_prompt, question.most_written)
        # A call that was broken off may be billed: then it counts as the most it can cost.
        actual = most
        try:
            reply = await self._post(question, failed)
            used = read_usage(reply, question.most_prompt, [question.most_written])
            actual = self.ledger.cost(*used)
            # Before the reply is read: also a reply that cannot be used is billed, and shows how the server counts.
            self.ledger.measure((question.most_prompt, question.most_written), used)
            answer = read(reply)
            self.server.note_answer(_list_offers(question))
            if isinstance(reply, Mapping):
                self.answered_as.add((str(reply.get("model") or ""), str(reply.get("system_fingerprint") or "")))
            return answer
        except AttemptError as error:
            if not error.billed:
                actual = self.ledger.cost(0, 0)
            raise
        except Malformed as error:
            raise AttemptError(self.redact(str(error)), "reply", billed=True) from error
        except RefusedRowError as error:
            raise AttemptError(self.redact(str(error)), "content", billed=True) from error
        except Unavailable as error:
            raise self.server.judge_missing_logprobs(_list_offers(question), error) from error
        finally:
            self.ledger.settle(most, actual)

    async def _post(self, question: Question, failed: set[str]) -> Any:
        """Post a question and return the body of a good reply; ``failed`` gets the replicas that give none."""
        import httpx

        try:
            # httpx's own time-outs bound single reads; a server that drips bytes would never meet them.
            async with asyncio.timeout(self.limits.timeout_s):
                response: Reply | httpx.Response
                if isinstance(self.client, Replicas):
                    response = await self.client.post(question.path, json=dict(question.body), failed=failed)
                else:
                    response = await self.client.post(question.path, json=dict(question.body))
        except httpx.ConnectTimeout as error:
            within = min(CONNECT_S, self.limits.timeout_s)
            raise self.server.note_silence(f"no connection in {within:g} s") from error
        except httpx.ConnectError as error:
            raise self.server.note_silence(f"cannot connect ({error or type(error).__name__})") from error
        # The server may still be writing the answer, and bill it.
        except (TimeoutError, httpx.TimeoutException) as error:
            raise AttemptError(f"no answer in {self.limits.timeout_s:g} s", billed=True) from error
        except httpx.HTTPError as error:
            named = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            # Broken behind the request: nobody knows how much of it was served.
            raise self.server.note_silence(f"the connection broke ({named})", billed=True) from error
        if response.status_code in _UNBILLED:
            raise self.server.interpret_refusal(response)
        self.server.note_good_reply()
        try:
            reply = json.loads(response.content)
        except (ValueError, RecursionError) as error:
            raise AttemptError(f"the reply is no JSON ({type(error).__name__})", "reply", billed=True) from error
        # Some servers send `error: null`, or a warning beside a good answer: those are no errors.
        if isinstance(reply, Mapping) and reply.get("error") and not reply.get("choices"):
            raise trouble_inside(reply, response.headers, self.redact)
        return reply


def _list_offers(question: Question) -> frozenset[str]:
    """List what a question asks for beyond a text."""
    return frozenset(name for name in _OFFERS if name in question.body)


def make_redactor(key: str | None) -> Callable[[str], str]:
    """Make a function that removes a key, and whatever else looks like a secret, from a text and shortens it."""

    def redact(text: str) -> str:
        plain = text.replace(key, "[secret]") if key else text
        return without_secrets(plain, os.environ)[:300]

    return redact
