"""When the next call may go out."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.engines.openai.pacing import BURST_S, RateLimit, backoff_s, retry_after_s


@given(st.lists(st.tuples(st.floats(0, 20), st.floats(0, 30)), min_size=1, max_size=60), st.floats(1, 6000))
def test_no_window_has_more_than_its_rate_and_a_burst(calls: list[tuple[float, float]], per_minute: float) -> None:
    pace, now, sent = RateLimit(per_minute), 0.0, []
    for gap, amount in calls:
        now += gap
        sent.append((now + pace.wait_s(amount, now), amount))
    largest = max(amount for _, amount in sent)
    times = [at for at, _ in sent]
    for start, end in [(start, end) for start in times for end in times if end >= start]:
        inside = sum(amount for at, amount in sent if start <= at < end)
        assert inside <= per_minute / 60 * (end - start + BURST_S) + largest + 1e-6


def test_without_a_limit_nobody_waits() -> None:
    assert [RateLimit(None).wait_s(1e9, 0.0) for _ in range(3)] == [0.0] * 3


@given(st.integers(1, 500), st.floats(0.01, 10), st.floats(0.01, 100), st.integers())
def test_back_off_doubles_to_a_limit_and_half_of_it_is_random(
    attempt: int, first: float, longest: float, seed: int
) -> None:
    whole = min(longest, first * 2.0 ** min(attempt - 1, 60))
    assert whole / 2 <= backoff_s(attempt, first, longest, random.Random(seed)) <= whole


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "20", "retry-after": "7"}, 0.02),
        ({"retry-after": "Sat, 21 Nov 2026 10:00:30 GMT"}, 30.0),
        ({"retry-after": "Sat, 21 Nov 2026 09:00:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers, datetime(2026, 11, 21, 10, tzinfo=UTC)) == seconds
