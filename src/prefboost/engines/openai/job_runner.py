"""Calls to a server that are made on another machine: jobs with an allowance in, answers and what they cost out."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prefboost.devices.numbers import NumberName
from prefboost.engines.budget import Bills, Budget, Ledger, Price, Spend
from prefboost.engines.engine import Sampling
from prefboost.engines.openai.bodies import Numbered
from prefboost.engines.openai.calls import BudgetSpent, Caller
from prefboost.engines.openai.engine import OpenAICompatible, OpenAICompatibleEngine

__all__ = ["CallJob", "CallReport", "FinishedJob", "JobRunner"]

_LINGER_S = 0.005
"""Seconds in which answers that come behind a first one join it: one message for many short calls."""


@dataclass(frozen=True)
class CallJob:
    """Rows that one call asks for.

    Args:
        number: of the job, by which its answers are told apart.
        group: the rows, with their indices.
        reading: sampling of answers in words, or choices whose log-probs are read.
        allowance: the most that may be spent on it, of what a budget limits; it is reserved already.
        bills: what the server is known to bill beyond limits.
    """

    number: int
    group: Numbered
    reading: Sampling | tuple[str, ...]
    allowance: Spend
    bills: Bills | None


@dataclass(frozen=True)
class FinishedJob:
    """A job that has ended.

    Args:
        number: of the job.
        outcomes: (index, answer or failure); rows that are missing were not allowed, or cancelled.
        spent: what it has cost.
    """

    number: int
    outcomes: list[tuple[int, Any]]
    spent: Spend


@dataclass(frozen=True)
class CallReport:
    """Report of jobs that have ended since the last one.

    Args:
        finished: jobs that have ended.
        bills: what the server was seen to bill beyond limits; None: nothing was billed yet.
        names: under which the server has replied.
        pause_s: seconds for which the server wants no calls from anybody with this key.
        error: what ends the run, as for `Caller.ask`.
    """

    finished: list[FinishedJob]
    bills: Bills | None
    names: set[tuple[str, str]]
    pause_s: float
    error: Exception | None


class JobRunner:
    """Runs jobs against one server, at the pace of its settings; all methods run in one event loop."""

    async def open(
        self,
        settings: OpenAICompatible,
        budget: Budget,
        environment: Mapping[str, str],
        *,
        numbers: NumberName | None = None,
        is_replacement: bool = False,
    ) -> NumberName | None:
        """Open connections.

        Args:
            settings: of the engine; limits are those of this runner alone.
            budget: says what an allowance limits.
            environment: variables, with the server's key, where this machine does not have them.
            numbers: plays no part: the server computes.
            is_replacement: another runner has used up the burst that a rate allows.
        """
        for name, value in environment.items():
            os.environ.setdefault(name, value)
        self._engine = OpenAICompatibleEngine(settings)
        self._budget = budget
        self._caller: Caller = self._engine.open_caller()
        if is_replacement:
            self._caller.forgo_burst()
        # More jobs are handed over than may run, so that none of the calls at once waits for the driver.
        self._slots = asyncio.Semaphore(settings.concurrency)
        self._running: set[asyncio.Task[None]] = set()
        self._finished: list[FinishedJob] = []
        self._news = asyncio.Event()
        self._bills: Bills | None = None
        self._error: Exception | None = None
        return None

    async def exchange(self, jobs: Sequence[CallJob], price: Price | None, pause_s: float = 0.0) -> CallReport:
        """Take jobs, and report what has finished; wait for the first where nothing has, and something runs.

        Args:
            jobs: to be run beside those that run.
            price: of the model.
            pause_s: seconds for which the server has asked another runner for quiet.
        """
        # A limit is the account's: what one runner is told holds for all.
        server = self._caller.server
        server.paused_until = max(server.paused_until, time.monotonic() + pause_s)
        for job in jobs:
            self._running.add(asyncio.create_task(self._run(job, price)))
        # Waits here and not at the driver, which hears of many short calls in one message.
        while self._running and not self._finished:
            self._news.clear()
            await self._news.wait()
        if self._running:
            await asyncio.sleep(_LINGER_S)
        return self._report()

    async def stop(self) -> CallReport:
        """Cancel what runs, and report all that has finished."""
        tasks = list(self._running)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return self._report()

    async def check_account(self) -> None:
        """See `ServerState.check_account`."""
        self._caller.server.check_account()

    def _report(self) -> CallReport:
        finished, self._finished = self._finished, []
        pause_s = max(0.0, self._caller.server.paused_until - time.monotonic())
        error, self._error = self._error, None
        return CallReport(finished, self._bills, set(self._engine.answered_as), pause_s, error)

    async def _run(self, job: CallJob, price: Price | None) -> None:
        # A ledger for each job: what is allowed for one row is never spent on another.
        ledger = Ledger(self._budget.narrow(job.allowance), price, bills=job.bills)
        outcomes: Iterable[tuple[int, Any]] = ()
        try:
            async with self._slots:
                caller = self._caller.with_ledger(ledger)
                if isinstance(job.reading, Sampling):
                    outcomes = await self._engine.complete_group(job.group, job.reading, caller)
                else:
                    outcomes = [await self._engine.weigh_choices(row, job.reading, caller) for row in job.group]
        except BudgetSpent:
            pass
        except Exception as error:  # also a fault of the program: the driver raises it, and no row is lost in silence
            self._error = self._error or error
        finally:
            if ledger.bills is not None:
                self._bills = ledger.bills | (self._bills or Bills())
            self._finished.append(FinishedJob(job.number, list(outcomes), ledger.spent))
            if (task := asyncio.current_task()) is not None:
                self._running.discard(task)
            self._news.set()
