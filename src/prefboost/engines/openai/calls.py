"""One call to a server: paced, within the budget, tried again with back-off, and every error without secrets."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import Field

from prefboost.engines.budget import Ledger, Spend
from prefboost.engines.engine import Failure
from prefboost.engines.openai.clients import CONNECT_S, Clients, Reply
from prefboost.engines.openai.pacing import RateLimit, backoff_s
from prefboost.engines.openai.replies import Malformed, Refused, Unavailable, read_usage
from prefboost.engines.openai.troubles import Evidence, Trouble, trouble_inside, trouble_of
from prefboost.errors import ModelError
from prefboost.settings import Settings
from prefboost.settings.secrets import without_secrets

if TYPE_CHECKING:
    import httpx

__all__ = ["BudgetSpent", "Caller", "CallLimits", "Question", "make_redactor"]

T = TypeVar("T")

_UNBILLED = range(300, 600)
"""Statuses for which no tokens are charged."""
_LOOK_AGAIN_S = 0.02
_RELOAD_S = 10.0
"""Seconds in which a server that starts may not know its paths yet; after them the address counts as wrong."""
_EVIDENCE = 3
"""Replies without log-probs, and none with them, after which the server is taken to give none at all."""
_OFFERS = frozenset({"logprobs", "prompt_logprobs", "echo"})
"""Fields of a body that ask for what not every server gives."""


class CallLimits(Settings):
    """Pace and patience of calls to a server."""

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
        client: of the server.
        limits: pace and patience.
        ledger: every attempt is settled with it.
        redact: takes secrets out of a text.
        answered_as: gets the model's name and the system's fingerprint out of every good reply.
    """

    def __init__(
        self,
        client: Clients | httpx.AsyncClient,
        limits: CallLimits,
        ledger: Ledger,
        redact: Callable[[str], str],
        answered_as: set[tuple[str, str]] | None = None,
    ) -> None:
        self.client = client
        self.limits = limits
        self.ledger = ledger
        self.redact = redact
        self.evidence = Evidence(limits.concurrency)
        self.replied = False
        """Whether there was any reply that shows the address to be right."""
        self.answered_as: set[tuple[str, str]] = set() if answered_as is None else answered_as
        self._requests = RateLimit(limits.requests_per_minute)
        self._tokens = RateLimit(limits.tokens_per_minute)
        self._paused_until = 0.0
        self._given: set[frozenset[str]] = set()
        self._lacking: Counter[frozenset[str]] = Counter()
        self._draw = random.Random()
        self._silent = 0
        self._missing_since: float | None = None
        self._probing = asyncio.Lock()
        self._last_account_trouble: Trouble | None = None

    async def ask(self, question: Question, read: Callable[[Any], T]) -> T | Failure:
        """Ask until there is an answer, or until there is no sense in asking again.

        Args:
            question: what to send.
            read: the body to what is wanted; raises Malformed, Refused or Unavailable.

        Raises:
            BudgetSpent: the budget allows no further attempt.
            ModelError: the server cannot be reached, refuses the key or account, knows no such model or address, or
                row after row ends in the same trouble with nothing answered in between, or lacks the log-probs that
                were asked for.
        """
        is_prober = False
        try:
            for attempt in itertools.count(1):
                is_prober = is_prober or (self._is_silent() and await self._probe())
                most = await self._wait_for_clearance(question)
                try:
                    answer = await self._attempt(question, most, read)
                except Trouble as trouble:
                    outcome = self._conclude(trouble, attempt)
                else:
                    self.evidence.add_answer()
                    return answer
                if isinstance(outcome, Failure):
                    return outcome
                await asyncio.sleep(outcome)
        finally:
            if is_prober:
                self._probing.release()
        raise AssertionError("attempts are counted without end")

    def check_account(self) -> None:
        """Refuse to end quietly where every row met a refusal of the account, however few rows there were.

        Raises:
            ModelError: nothing was answered, and no row was.
        """
        if self._last_account_trouble is not None and not self.evidence.answered:
            raise self._make_stop_error(self._last_account_trouble, self.evidence.rows["account"])

    def _is_silent(self) -> bool:
        """Tell whether one row asks for all: nobody replies, or a starting server knows no path yet.

        Nobody replies where as many calls as may be made at once, and more than chance gives, had no reply in
        succession.
        """
        is_starting = self._missing_since is not None and not self.replied
        return is_starting or self._silent >= max(8, self.limits.concurrency)

    async def _probe(self) -> bool:
        """Wait for the one row that asks for all while nobody replies; True where it is this one's turn.

        Without it every row would make all its calls in vain.
        """
        await self._probing.acquire()
        if self._is_silent():
            return True
        self._probing.release()
        return False

    def _conclude(self, trouble: Trouble, attempt: int) -> Failure | float:
        """Decide what follows a failed attempt: the row's failure, or seconds to wait before the next attempt.

        Raises:
            ModelError: see `ask`.
        """
        if trouble.kind in ("refused", "content"):
            if self.evidence.add_row(trouble.kind):
                raise self._make_stop_error(trouble, self.evidence.rows[trouble.kind])
            return Failure(trouble.reason, attempt, permanent=True, content=trouble.kind == "content")
        if trouble.kind == "unavailable":
            # Asking again would cost the same and most likely give the same; a later run may meet a better server.
            return Failure(trouble.reason, attempt, unavailable=True)
        if trouble.kind == "account" or attempt >= self.limits.attempts:
            return self._fail_row(trouble, attempt)
        wait = self._wait_s(attempt, trouble)
        if wait is not None:
            is_starting = trouble.may_reload and not self.replied and self._missing_since is not None
            left = (self._missing_since or 0.0) + _RELOAD_S - time.monotonic()
            return min(wait, max(left, 0.0)) if is_starting else wait
        trouble.reason += f"; it asks to wait {trouble.wait_s:.0f} s"
        if trouble.status == 429:  # a limit that lasts is the account's
            trouble.kind = "account"
        return self._fail_row(trouble, attempt)

    def _fail_row(self, trouble: Trouble, attempts: int) -> Failure:
        """Record a row's failure that time, or the account's owner, may cure: another call of the program asks again.

        Raises:
            ModelError: enough rows ended so, or the server never replied at all.
        """
        if trouble.status == 403 and not trouble.page and not self.evidence.answered:
            trouble.kind = "account"  # firewalls send pages, and let other rows pass
        enough = self.evidence.add_row(trouble.kind)
        if trouble.kind == "account":
            self._last_account_trouble = trouble
        if trouble.kind == "address" and not self.replied:
            raise self._make_refusal_error(trouble)
        if not self.replied:
            raise ModelError(
                f"the server at {self.client.base_url} gave no answer in {attempts} attempts: {trouble.reason}",
                remedy="start the server, or mend base_url",
            )
        # A server that replies to anybody, be it with an error, has not gone: rows whose calls broke are their own.
        if enough and (trouble.kind != "connection" or self._is_silent()):
            raise self._make_stop_error(trouble, self.evidence.rows[trouble.kind])
        return Failure(trouble.reason, attempts)

    def _make_stop_error(self, trouble: Trouble, rows: int) -> ModelError:
        address = self.client.base_url
        evidence = f"{rows} row{'s' * (rows > 1)} in succession, nothing answered in between"
        safety = "what is answered is kept, and the same command goes on with the rest"
        if trouble.kind == "account":
            return ModelError(
                f"the server at {address} refuses: {trouble.reason} ({evidence})",
                remedy="mend the account (payment, quota) or the key in the environment variable that api_key_env "
                f"names; {safety}",
            )
        if trouble.kind == "connection":
            return ModelError(
                f"the server at {address} has gone: {trouble.reason} ({evidence})", remedy=f"start the server; {safety}"
            )
        if trouble.kind in ("refused", "reply"):
            return ModelError(
                f"the server at {address} gives no answer that can be used: {trouble.reason} ({evidence})",
                remedy=f"change what is sent (extra, leave_out, max_tokens_field, api); {safety}",
            )
        return ModelError(
            f"the server at {address} answers no more: {trouble.reason} ({evidence})",
            remedy=f"look at the server, or press it less (concurrency); {safety}",
        )

    def _wait_s(self, attempt: int, trouble: Trouble) -> float | None:
        """Compute the seconds before the next attempt; None: longer than ``longest_wait_s``."""
        jittered = backoff_s(attempt, self.limits.backoff_s, self.limits.longest_wait_s, self._draw)
        if trouble.wait_s is None:
            return jittered
        if trouble.wait_s > self.limits.longest_wait_s:
            return None
        if trouble.status == 429:  # the limit is the account's: other calls would meet it too
            self._paused_until = max(self._paused_until, time.monotonic() + trouble.wait_s)
        return trouble.wait_s + jittered * 0.1

    async def _wait_for_clearance(self, question: Question) -> Spend:
        """Wait until the pace and the budget allow a call; what was set aside for it."""
        tokens = question.prompt_estimate + question.most_written
        now = time.monotonic()
        wait = max(
            self._requests.wait_s(1, now), self._tokens.wait_s(tokens, now), self._paused_until - time.monotonic()
        )
        while wait > 0:
            await asyncio.sleep(wait)
            wait = self._paused_until - time.monotonic()
        while self.ledger.must_measure:  # one call goes first and shows how this server counts
            await asyncio.sleep(_LOOK_AGAIN_S)
        # Reserved, not only checked: calls in flight could otherwise exceed the budget together.
        most = self.ledger.limit_cost(question.most_prompt, question.most_written)
        while not self.ledger.reserve(most):
            if self.ledger.exhausted or not self.ledger.in_flight:
                self.ledger.exhausted = True
                raise BudgetSpent
            await asyncio.sleep(_LOOK_AGAIN_S)
            most = self.ledger.limit_cost(question.most_prompt, question.most_written)
        return most

    async def _attempt(self, question: Question, most: Spend, read: Callable[[Any], T]) -> T:
        actual = most  # a call that was broken off may be billed: then it counts as the most it can cost
        try:
            reply = await self._post(question)
            tokens = read_usage(reply, question.most_prompt, [question.most_written])
            actual = self.ledger.cost(*tokens)
            self.ledger.measure((question.most_prompt, question.most_written), tokens)
            answer = read(reply)
            self._given.add(_list_offers(question))
            if isinstance(reply, Mapping):
                self.answered_as.add((str(reply.get("model") or ""), str(reply.get("system_fingerprint") or "")))
            return answer
        except Trouble as trouble:
            if not trouble.billed:
                actual = self.ledger.cost(0, 0)
            raise
        except Malformed as error:
            raise Trouble(self.redact(str(error)), "reply", billed=True) from error
        except Refused as error:
            raise Trouble(self.redact(str(error)), "content", billed=True) from error
        except Unavailable as error:
            raise self._judge_missing_logprobs(question, error) from error
        finally:
            self.ledger.settle(most, actual)

    def _judge_missing_logprobs(self, question: Question, error: Unavailable) -> Trouble | ModelError:
        """Judge a reply without log-probs: one is its row's fault, several and no other are the server's."""
        offer = _list_offers(question)
        self._lacking[offer] += 1
        if self._lacking[offer] < _EVIDENCE or offer in self._given:
            return Trouble(self.redact(str(error)), "unavailable", billed=True)
        return ModelError(
            self.redact(str(error)), remedy="take a server that gives them (vLLM does), or a local engine"
        )

    async def _post(self, question: Question) -> Any:
        """Post a question and return the body of a good reply."""
        import httpx

        try:
            # httpx's own time-outs bound single reads; a server that drips bytes would never meet them.
            async with asyncio.timeout(self.limits.timeout_s):
                response = await self.client.post(question.path, json=dict(question.body))
        except httpx.ConnectTimeout as error:
            within = min(CONNECT_S, self.limits.timeout_s)
            raise self._note_silence(f"no connection in {within:g} s") from error
        except httpx.ConnectError as error:
            raise self._note_silence(f"cannot connect ({error or type(error).__name__})") from error
        except (TimeoutError, httpx.TimeoutException) as error:
            raise Trouble(f"no answer in {self.limits.timeout_s:g} s", billed=True) from error
        except httpx.HTTPError as error:
            named = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise self._note_silence(f"the connection broke ({named})", billed=True) from error
        self._silent = 0
        if response.status_code in _UNBILLED:
            raise self._interpret_refusal(response)
        self.replied = True
        try:
            reply = json.loads(response.content)
        except (ValueError, RecursionError) as error:
            raise Trouble(f"the reply is no JSON ({type(error).__name__})", "reply", billed=True) from error
        if isinstance(reply, Mapping) and reply.get("error") and not reply.get("choices"):
            raise trouble_inside(reply, response.headers, self.redact)
        return reply

    def _note_silence(self, reason: str, *, billed: bool = False) -> Trouble:
        """Count a call without any reply, and return its trouble."""
        self._silent += 1
        return Trouble(self.redact(reason), "connection", billed=billed)

    def _interpret_refusal(self, response: Reply | httpx.Response) -> Trouble:
        """Interpret a reply that is no answer.

        Raises:
            ModelError: it means the same for every row.
        """
        trouble = trouble_of(response.status_code, response.headers, response.content, self.redact)
        is_wrong = trouble.kind == "address" and not self.replied
        if is_wrong and trouble.may_reload and self._may_start():
            return trouble
        if trouble.status == 401 or is_wrong:
            raise self._make_refusal_error(trouble)
        self.replied = True
        return trouble

    def _make_refusal_error(self, trouble: Trouble) -> ModelError:
        return ModelError(
            f"the server at {self.client.base_url} refuses: {trouble.reason}",
            remedy="mend base_url, model, or the environment variable that api_key_env names",
        )

    def _may_start(self) -> bool:
        """Tell whether a server that lacks the path, and has answered nothing yet, is given time to start."""
        now = time.monotonic()
        if self._missing_since is None:
            self._missing_since = now
        return now - self._missing_since < _RELOAD_S


def _list_offers(question: Question) -> frozenset[str]:
    """List what a question asks for beyond a text."""
    return frozenset(name for name in _OFFERS if name in question.body)


def make_redactor(key: str | None) -> Callable[[str], str]:
    """Make a function that removes a key, and whatever else looks like a secret, from a text and shortens it."""

    def redact(text: str) -> str:
        plain = text.replace(key, "[secret]") if key else text
        return without_secrets(plain, os.environ)[:300]

    return redact
