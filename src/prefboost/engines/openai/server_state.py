"""Judge a server by its calls, and decide what follows from a failed one: wait, give the row up, or stop the run."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from prefboost.engines.engine import Failure
from prefboost.engines.openai.attempt_errors import AttemptError, Evidence, classify_reply_error
from prefboost.engines.openai.pacing import CallLimits, backoff_s
from prefboost.engines.openai.replies import Unavailable
from prefboost.errors import ModelError

if TYPE_CHECKING:
    import httpx

    from prefboost.engines.openai.clients import Reply

__all__ = ["ServerState"]

_RELOAD_S = 10.0
"""Seconds in which a server that starts may not know its paths yet; after them the address counts as wrong."""
_EVIDENCE = 3
"""Replies without log-probs, and none with them, after which the server is taken to give none at all."""


class ServerState:
    """State of a server as the calls of one run have shown it; for one event loop.

    Args:
        address: named in errors.
        limits: pace and patience.
        redact: takes secrets out of a text.
    """

    def __init__(self, address: str, limits: CallLimits, redact: Callable[[str], str]) -> None:
        self.address = address
        self.limits = limits
        self.redact = redact
        self.replied = False
        """Whether there was any reply that shows the address to be right."""
        self.paused_until = 0.0
        """Until when no call goes out, by the clock that never goes back."""
        self._evidence = Evidence(limits.concurrency)
        self._given: set[frozenset[str]] = set()
        self._lacking: Counter[frozenset[str]] = Counter()
        # Not seeded by the run: clients that were started together must not come back together.
        self._draw = random.Random()
        self._silent = 0
        self._missing_since: float | None = None
        self._probing = asyncio.Lock()
        self._last_account_error: AttemptError | None = None

    def check_account(self) -> None:
        """Refuse to end quietly where every row met a refusal of the account, however few rows there were.

        Raises:
            ModelError: nothing was answered, and no row was.
        """
        if self._last_account_error is not None and not self._evidence.answered:
            raise self._make_stop_error(self._last_account_error, self._evidence.rows["account"])

    def is_silent(self) -> bool:
        """Tell whether one row asks for all: nobody replies, or a starting server knows no path yet.

        Nobody replies where as many calls as may be made at once, and more than chance gives, had no reply in
        succession.
        """
        is_starting = self._missing_since is not None and not self.replied
        # At least 8: with few calls at once a firewall that drops one in five would look like a server that has gone.
        return is_starting or self._silent >= max(8, self.limits.concurrency)

    async def probe(self) -> bool:
        """Wait for the one row that asks for all while nobody replies; True where it is this one's turn.

        Without it every row would make all its calls in vain.
        """
        await self._probing.acquire()
        # Asked again behind the lock: the row that probed before this one may have had a reply.
        if self.is_silent():
            return True
        self._probing.release()
        return False

    def end_probe(self) -> None:
        """Let the next row ask."""
        self._probing.release()

    def note_answer(self, offers: frozenset[str]) -> None:
        """Take note of a good answer.

        Args:
            offers: what it gives beyond a text.
        """
        self._evidence.add_answer()
        self._given.add(offers)

    def note_good_reply(self) -> None:
        """Take note of a reply of a good status, whatever is in it."""
        self._silent = 0
        self.replied = True

    def conclude(self, error: AttemptError, attempt: int) -> Failure | float:
        """Decide what follows a failed attempt: the row's failure, or seconds to wait before the next attempt.

        Raises:
            ModelError: the run is to stop: see `Caller.ask`.
        """
        if error.kind in ("refused", "content"):
            # Refused by the server as it is set up, row after row and from the first on: the setting is at fault.
            if self._evidence.add_row(error.kind):
                raise self._make_stop_error(error, self._evidence.rows[error.kind])
            return Failure(error.reason, attempt, permanent=True, content=error.kind == "content")
        if error.kind == "unavailable":
            # Asking again would cost the same and most likely give the same; a later run may meet a better server.
            return Failure(error.reason, attempt, unavailable=True)
        if error.kind == "account" or attempt >= self.limits.attempts:
            return self._fail_row(error, attempt)
        if error.wait_s is None or error.wait_s <= self.limits.longest_wait_s:
            wait = backoff_s(attempt, self.limits.backoff_s, self.limits.longest_wait_s, self._draw)
            if error.wait_s is not None:
                # A server that asks all to come back at one time would meet all of them at once.
                wait = error.wait_s + wait * 0.1
                # The limit is the account's: other calls would meet it too.
                if error.status == 429:
                    self.paused_until = max(self.paused_until, time.monotonic() + error.wait_s)
            # Back-off may grow beyond the time that a starting server is given: then a last look at its end decides.
            is_starting = error.may_reload and not self.replied and self._missing_since is not None
            left = (self._missing_since or 0.0) + _RELOAD_S - time.monotonic()
            return min(wait, max(left, 0.0)) if is_starting else wait
        error.reason += f"; it asks to wait {error.wait_s:.0f} s"
        # A limit that lasts is the account's.
        if error.status == 429:
            error.kind = "account"
        return self._fail_row(error, attempt)

    def _fail_row(self, error: AttemptError, attempts: int) -> Failure:
        """Record a row's failure that time, or the account's owner, may cure: another call of the program asks again.

        Raises:
            ModelError: enough rows ended so, or the server never replied at all.
        """
        if error.status == 403 and not error.page and not self._evidence.answered:
            # Firewalls send pages, and let other rows pass.
            error.kind = "account"
        enough = self._evidence.add_row(error.kind)
        if error.kind == "account":
            self._last_account_error = error
        # A missing model or path ends a run that has had no good reply; later it means that the server reloads.
        if error.kind == "address" and not self.replied:
            raise self._make_refusal_error(error)
        if not self.replied:
            raise ModelError(
                f"the server at {self.address} gave no answer in {attempts} attempts: {error.reason}",
                remedy="start the server, or correct base_url",
            )
        # A server that replies to anybody, be it with an error, has not gone: rows whose calls broke are their own.
        if enough and (error.kind != "connection" or self.is_silent()):
            raise self._make_stop_error(error, self._evidence.rows[error.kind])
        return Failure(error.reason, attempts)

    def _make_stop_error(self, error: AttemptError, rows: int) -> ModelError:
        evidence = f"{rows} row{'s' * (rows > 1)} in succession, nothing answered in between"
        safety = "answered rows are kept, and the same command resumes with the rest"
        if error.kind == "account":
            return ModelError(
                f"the server at {self.address} refuses: {error.reason} ({evidence})",
                remedy="correct the account (payment, quota) or the key in the environment variable that api_key_env "
                f"names; {safety}",
            )
        if error.kind == "connection":
            return ModelError(
                f"the server at {self.address} is gone: {error.reason} ({evidence})",
                remedy=f"start the server; {safety}",
            )
        if error.kind in ("refused", "reply"):
            return ModelError(
                f"the server at {self.address} gives no usable answer: {error.reason} ({evidence})",
                remedy=f"change the request (extra, leave_out, max_tokens_field, api); {safety}",
            )
        return ModelError(
            f"the server at {self.address} does not answer any more: {error.reason} ({evidence})",
            remedy=f"check the server, or send fewer requests at once (concurrency); {safety}",
        )

    def judge_missing_logprobs(self, offers: frozenset[str], error: Unavailable) -> AttemptError | ModelError:
        """Judge a reply without log-probs: one is its row's fault, several and no other are the server's."""
        self._lacking[offers] += 1
        # Servers give log-probs for one kind of question and not for another, so each kind is counted by itself.
        if self._lacking[offers] < _EVIDENCE or offers in self._given:
            return AttemptError(self.redact(str(error)), "unavailable", billed=True)
        return ModelError(
            self.redact(str(error)), remedy="use a server that returns them (vLLM does), or a local engine"
        )

    def note_silence(self, reason: str, *, billed: bool = False) -> AttemptError:
        """Count a call without any reply, and return its trouble."""
        self._silent += 1
        return AttemptError(self.redact(reason), "connection", billed=billed)

    def interpret_refusal(self, response: Reply | httpx.Response) -> AttemptError:
        """Interpret a reply that is no answer.

        Raises:
            ModelError: it means the same for every row.
        """
        # A refusal too is a reply: somebody is there.
        self._silent = 0
        error = classify_reply_error(response.status_code, response.headers, response.content, self.redact)
        is_wrong = error.kind == "address" and not self.replied
        if is_wrong and error.may_reload:
            # A server that lacks the path, and has answered nothing yet, is given time to start.
            now = time.monotonic()
            if self._missing_since is None:
                self._missing_since = now
            if now - self._missing_since < _RELOAD_S:
                return error
        # Without a key that counts no row can be answered, so the first 401 is enough, also in the middle of a run.
        if error.status == 401 or is_wrong:
            raise self._make_refusal_error(error)
        self.replied = True
        return error

    def _make_refusal_error(self, error: AttemptError) -> ModelError:
        return ModelError(
            f"the server at {self.address} refuses: {error.reason}",
            remedy="correct base_url, model, or the environment variable that api_key_env names",
        )
