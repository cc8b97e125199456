"""When the next call may go out: rate limits, back-off with jitter, and what Retry-After asks for."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from pydantic import Field

from prefboost.settings import Settings

__all__ = ["CallLimits", "RateLimit", "backoff_s", "retry_after_s"]

BURST_S = 5.0
"""Seconds of a rate that may go out at once."""


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


class RateLimit:
    """A rate that is kept: amounts are spread over time, a few seconds' worth at once.

    Args:
        per_minute: units (calls, tokens) a minute; None: no limit.
    """

    def __init__(self, per_minute: float | None) -> None:
        self._seconds_each = 60.0 / per_minute if per_minute else 0.0
        self._booked_until = float("-inf")

    def wait_s(self, amount: float, now: float) -> float:
        """Book an amount; how many seconds to wait before it may go out.

        Args:
            amount: units.
            now: seconds of a clock that never goes back.
        """
        if not self._seconds_each:
            return 0.0
        # A leaky bucket: each amount moves the next free moment on. What was not used in idle time is lost, but for the
        # burst.
        booked = max(self._booked_until, now)
        self._booked_until = booked + amount * self._seconds_each
        return max(0.0, booked - BURST_S - now)

    def forgo_burst(self, now: float) -> None:
        """Book the few seconds' worth that may go out at once; ``now`` as for `wait_s`."""
        self._booked_until = max(self._booked_until, now + BURST_S)


def backoff_s(attempt: int, first_s: float, longest_s: float, draw: random.Random) -> float:
    """Draw the seconds before the next attempt: half of an exponentially growing time, plus a random part of the other.

    The jitter keeps many clients from coming back together.

    Args:
        attempt: the one that failed, from 1.
        first_s: the whole time after the first attempt.
        longest_s: the time never grows over this.
        draw: source of the random part.
    """
    # The exponent is bounded: 2.0 ** 1024 is an error, and attempts have no upper bound.
    whole: float = min(longest_s, first_s * 2.0 ** min(attempt - 1, 60))
    return whole / 2 * (1 + draw.random())


def retry_after_s(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Read the seconds that a server asks to wait (RFC 9110, section 10.2.3: a number or a date); None for none."""
    # Azure says milliseconds beside whole seconds, which round a wait of 200 ms up to one second.
    exact = _number(headers.get("retry-after-ms"))
    if exact is not None:
        return exact / 1000
    text = headers.get("retry-after")
    seconds = _number(text)
    if seconds is not None or text is None:
        return seconds
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return None
    if when.tzinfo is None:
        # Dates of HTTP are in GMT, which the parser does not always note.
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - (now or datetime.now(UTC))).total_seconds())


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else -1.0
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None
