"""One call to a server: paced, within the budget, tried again with back-off, and every error without secrets."""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import Field

from prefboost.engines.budget import Ledger, Spend
from prefboost.engines.engine import Failure
from prefboost.engines.pacing import Pace, backoff_s, retry_after_s
from prefboost.engines.replies import Malformed, Refused, Unavailable, usage_of
from prefboost.errors import MissingExtra, ModelError
from prefboost.settings import Settings
from prefboost.settings.secrets import without_secrets

if TYPE_CHECKING:
    import httpx

__all__ = ["BudgetSpent", "Caller", "Limits", "Question", "client_for", "redactor"]

T = TypeVar("T")

_AGAIN = frozenset({408, 409, 425, 429})
"""Statuses that may pass, besides 5xx."""
_UNBILLED = range(300, 600)
"""Statuses for which no tokens are charged."""
_LOOK_AGAIN_S = 0.02


class Limits(Settings):
    """How hard a server is pressed, and how patiently it is asked again."""

    concurrency: int = Field(32, ge=1, description="Most calls at once.")
    requests_per_minute: float | None = Field(None, gt=0, description="Most calls a minute.")
    tokens_per_minute: float | None = Field(None, gt=0, description="Most tokens a minute, of prompts and completions.")
    timeout_s: float = Field(300.0, gt=0, description="Seconds after which a call is given up.")
    attempts: int = Field(6, ge=1, description="Calls made for a row before it is recorded as failed.")
    backoff_s: float = Field(0.5, gt=0, description="Seconds before the second attempt; they double, with jitter.")
    longest_wait_s: float = Field(
        120.0, gt=0, description="Longest wait between attempts; a server that asks for more by Retry-After is not met."
    )


class BudgetSpent(Exception):
    """The budget does not allow this call, and nothing in flight could free any of it."""


@dataclass(frozen=True)
class Question:
    """What a call asks.

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


@dataclass
class _Trouble(Exception):
    """An attempt that failed."""

    reason: str
    wait_s: float | None = None
    permanent: bool = False
    billed: bool = False
    status: int | None = None


class Caller:
    """Makes calls within limits and a budget; for one event loop.

    Args:
        client: of httpx, with the server's base address.
        limits: pace and patience.
        ledger: every attempt is settled with it.
        redacted: takes secrets out of a text.
        answered_as: gets the model's name and the system's fingerprint out of every good reply.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        limits: Limits,
        ledger: Ledger,
        redacted: Callable[[str], str],
        answered_as: set[tuple[str, str]] | None = None,
    ) -> None:
        self.client = client
        self.limits = limits
        self.ledger = ledger
        self.redacted = redacted
        self.answered = False
        self.answered_as: set[tuple[str, str]] = set() if answered_as is None else answered_as
        self._requests = Pace(limits.requests_per_minute)
        self._tokens = Pace(limits.tokens_per_minute)
        self._paused_until = 0.0
        self._draw = random.Random()

    async def ask(self, question: Question, read: Callable[[Any], T]) -> T | Failure:
        """Ask until there is an answer, or until there is no sense in asking again.

        Args:
            question: what to send.
            read: the body to what is wanted; raises Malformed, Refused or Unavailable.

        Raises:
            BudgetSpent: the budget allows no further attempt.
            ModelError: the server cannot be reached, refuses the key or knows no such model or address.
        """
        trouble = _Trouble("")
        for attempt in range(1, self.limits.attempts + 1):
            most = await self._cleared(question)
            try:
                return await self._attempt(question, most, read)
            except _Trouble as caught:
                trouble = caught
            if trouble.permanent:
                return Failure(trouble.reason, attempt, permanent=True)
            if attempt < self.limits.attempts:
                wait = self._wait_s(attempt, trouble)
                if wait is None:
                    return Failure(f"{trouble.reason}; it asks to wait {trouble.wait_s:.0f} s", attempt)
                await asyncio.sleep(wait)
        if not self.answered:
            raise ModelError(
                f"the server at {self.client.base_url} gave no answer in {self.limits.attempts} attempts: "
                f"{trouble.reason}",
                remedy="start the server, or mend base_url",
            )
        return Failure(trouble.reason, self.limits.attempts)

    def _wait_s(self, attempt: int, trouble: _Trouble) -> float | None:
        """Seconds before the next attempt; None: longer than anybody wants to wait."""
        jittered = backoff_s(attempt, self.limits.backoff_s, self.limits.longest_wait_s, self._draw)
        if trouble.wait_s is None:
            return jittered
        if trouble.wait_s > self.limits.longest_wait_s:
            return None
        if trouble.status == 429:  # the limit is the account's: other calls would meet it too
            self._paused_until = max(self._paused_until, time.monotonic() + trouble.wait_s)
        return trouble.wait_s + jittered * 0.1

    async def _cleared(self, question: Question) -> Spend:
        """Wait until the pace and the budget allow a call; what was set aside for it."""
        tokens = question.prompt_estimate + question.most_written
        now = time.monotonic()
        wait = max(
            self._requests.wait_s(1, now), self._tokens.wait_s(tokens, now), self._paused_until - time.monotonic()
        )
        while wait > 0:
            await asyncio.sleep(wait)
            wait = self._paused_until - time.monotonic()
        most = self.ledger.cost(question.most_prompt, question.most_written)
        while not self.ledger.reserve(most):
            if self.ledger.exhausted or not self.ledger.in_flight:
                self.ledger.exhausted = True
                raise BudgetSpent
            await asyncio.sleep(_LOOK_AGAIN_S)
        return most

    async def _attempt(self, question: Question, most: Spend, read: Callable[[Any], T]) -> T:
        actual = most  # a call that was broken off may be billed: then it counts as the most it can cost
        try:
            reply = await self._posted(question)
            tokens = usage_of(reply, question.most_prompt, [question.most_written])
            actual = self.ledger.cost(*tokens)
            found = read(reply)
            if isinstance(reply, Mapping):
                self.answered_as.add((str(reply.get("model") or ""), str(reply.get("system_fingerprint") or "")))
            return found
        except _Trouble as trouble:
            if not trouble.billed:
                actual = self.ledger.cost(0, 0)
            raise
        except Malformed as error:
            raise _Trouble(self.redacted(str(error)), billed=True) from error
        except Refused as error:
            raise _Trouble(self.redacted(str(error)), permanent=True, billed=True) from error
        except Unavailable as error:
            raise ModelError(
                self.redacted(str(error)), remedy="take a server that gives them (vLLM does), or a local engine"
            ) from error
        finally:
            self.ledger.settle(most, actual)

    async def _posted(self, question: Question) -> Any:
        """The body of a good reply; a number that is too long for a float, or no JSON, is trouble."""
        import httpx

        try:
            async with asyncio.timeout(self.limits.timeout_s):
                response = await self.client.post(question.path, json=dict(question.body))
        except httpx.ConnectError as error:
            raise _Trouble(self.redacted(f"cannot connect ({error or type(error).__name__})")) from error
        except (TimeoutError, httpx.TimeoutException) as error:
            raise _Trouble(f"no answer in {self.limits.timeout_s:g} s", billed=True) from error
        except httpx.HTTPError as error:
            self.answered = True
            raise _Trouble(
                self.redacted(f"the connection broke ({type(error).__name__}: {error})"), billed=True
            ) from error
        if response.status_code in _UNBILLED:
            raise self._declined(response)
        self.answered = True
        try:
            reply = json.loads(response.content)
        except (ValueError, RecursionError) as error:
            raise _Trouble(f"the reply is no JSON ({type(error).__name__})", billed=True) from error
        if isinstance(reply, Mapping) and reply.get("error"):
            raise _Trouble(self.redacted(f"an error in a good reply: {_message(reply)}"), billed=True)
        return reply

    def _declined(self, response: httpx.Response) -> _Trouble:
        status = response.status_code
        try:
            said = _message(json.loads(response.content))
        except (ValueError, RecursionError):
            said = response.text
        reason = self.redacted(f"HTTP {status}: {' '.join(said.split())}")
        if status == 401 or ((status in (403, 404) or status < 400) and not self.answered):
            raise ModelError(
                f"the server at {self.client.base_url} refuses: {reason}",
                remedy="mend base_url, model, or the environment variable that api_key_env names",
            )
        self.answered = True
        again = status in _AGAIN or status >= 500
        wait = retry_after_s(response.headers) if again else None
        return _Trouble(reason, wait_s=wait, permanent=not again, status=status)


def redactor(key: str | None) -> Callable[[str], str]:
    """A function that takes a key, and whatever else looks like a secret, out of a text and shortens it."""

    def redacted(text: str) -> str:
        plain = text.replace(key, "[secret]") if key else text
        return without_secrets(plain, os.environ)[:300]

    return redacted


def client_for(base_url: str, key: str | None, limits: Limits) -> httpx.AsyncClient:
    """A client with the key in its headers, which follows no redirect (a key goes to one address alone).

    Raises:
        MissingExtra: httpx is not installed.
    """
    try:
        import httpx
    except ImportError as error:
        raise MissingExtra("httpx", "openai") from error
    loopback = httpx.URL(base_url).host in ("localhost", "127.0.0.1", "::1")
    return httpx.AsyncClient(
        base_url=base_url,
        headers={"Authorization": f"Bearer {key}"} if key else {},
        timeout=httpx.Timeout(limits.timeout_s, connect=min(10.0, limits.timeout_s), pool=None),
        limits=httpx.Limits(max_connections=limits.concurrency, max_keepalive_connections=limits.concurrency),
        trust_env=not loopback,
    )


def _message(reply: Any) -> str:
    """What an error body says; servers shape it differently."""
    error = reply.get("error", reply) if isinstance(reply, Mapping) else reply
    if isinstance(error, Mapping):
        error = error.get("message") or error.get("detail") or error
    return str(error)
