"""Async work behind a synchronous face."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from typing import Any

import pytest

from prefboost.engines.openai.background import BackgroundLoop

Job = Callable[[], Coroutine[Any, Any, int]]


class Watched:
    """Jobs that count how many run at a time."""

    def __init__(self) -> None:
        self.running = self.most = self.taken = 0

    def jobs(self, count: int) -> Iterator[Job]:
        for number in range(count):
            self.taken += 1
            yield lambda number=number: self.work(number)  # type: ignore[misc]

    async def work(self, number: int) -> int:
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0.002 * (number % 3))
        self.running -= 1
        return number


def test_every_job_is_done_once_and_no_more_run_than_are_allowed() -> None:
    watched = Watched()
    with BackgroundLoop() as loop:
        batches = list(loop.run_jobs(watched.jobs(50), 7))
    assert sorted(number for batch in batches for number in batch) == list(range(50))
    assert watched.most == 7


def test_jobs_are_taken_when_there_is_room_for_them() -> None:
    watched = Watched()
    with BackgroundLoop() as loop:
        results = loop.run_jobs(watched.jobs(50), 4)
        finished = len(next(results))
        assert watched.taken <= 4 + finished
        results.close()


def test_it_works_inside_a_running_loop_too() -> None:
    async def caller() -> list[int]:
        with BackgroundLoop() as loop:
            return [number for batch in loop.run_jobs(Watched().jobs(3), 2) for number in batch]

    assert sorted(asyncio.run(caller())) == [0, 1, 2]


def test_an_exception_is_raised_after_what_has_finished_was_given() -> None:
    async def fails() -> int:
        await asyncio.sleep(0.02)
        raise ValueError("broken")

    async def gives() -> int:
        return 1

    seen: list[int] = []
    with BackgroundLoop() as loop, pytest.raises(ValueError, match="broken"):
        for batch in loop.run_jobs(iter([fails, gives]), 2):
            seen += batch
    assert seen == [1]


def test_jobs_that_finish_while_one_breaks_are_given_too() -> None:
    async def gives(number: int) -> int:
        await asyncio.sleep(0)
        if number == 7:
            raise ValueError("broken")
        return number

    seen: list[int] = []
    with BackgroundLoop() as loop, pytest.raises(ValueError, match="broken"):
        for batch in loop.run_jobs((partial(gives, number) for number in range(20)), 20):
            seen += batch
    assert sorted(seen) == [number for number in range(20) if number != 7]


def test_ctrl_c_gives_what_has_finished_and_goes_on() -> None:
    async def soon() -> int:
        return 1

    async def never() -> int:
        await asyncio.Event().wait()
        return 2

    def jobs() -> Iterator[Job]:
        yield soon
        yield soon
        yield never
        raise KeyboardInterrupt

    seen: list[int] = []
    with BackgroundLoop() as loop, pytest.raises(KeyboardInterrupt):
        for batch in loop.run_jobs(jobs(), 3):
            seen += batch
    assert seen == [1, 1]
