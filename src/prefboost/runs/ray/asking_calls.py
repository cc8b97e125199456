"""Calls to a server from several nodes: one store, one budget, one rate and one number of calls at once."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from prefboost.engines.budget import Ledger, Spend
from prefboost.engines.engine import Failure, Outcome, Request, Sampling
from prefboost.engines.openai.bodies import Numbered, group_samples
from prefboost.engines.openai.engine import OpenAICompatibleEngine
from prefboost.engines.openai.job_runner import CallJob, CallReport
from prefboost.runs.ray.asking_crew import Crew, Seat
from prefboost.runs.ray.cluster import find_cause, load_ray

__all__ = ["PooledCalls"]

_DEATHS = 3
"""Workers that may die while they ask for a row, before it counts as failed."""
_LOOK_S = 1.0
_NUMBERS = count(1)
"""Numbers of jobs: no two of one process are alike, since workers outlive a round."""
_STOP_S = 10.0
"""Seconds that workers have to report what they have finished when a run is ended."""


class PooledCalls:
    """See `prefboost.engines.engine.Engine`: an engine that asks a server, with its calls made by workers.

    Keys, bodies and estimates are made here, and the most that a job can cost is reserved here before it goes out, so
    that no worker can exceed the budget, and none needs to be asked whether it may spend.

    Args:
        here: the engine as this process opens it.
        crew: `prefboost.engines.openai.job_runner.JobRunner`s with the same settings, each with its share of the
            limits.
        calls_at_once: of one worker.
    """

    remote = True

    def __init__(self, here: OpenAICompatibleEngine, crew: Crew, calls_at_once: int) -> None:
        self.here = here
        self.crew = crew
        # A worker has some more jobs than it may run, so that it never waits for this process.
        self.slots = calls_at_once + max(1, calls_at_once // 4)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.here, name)

    @property
    def ledger(self) -> Ledger:
        """The ledger of calls that workers make, and of those that are made here."""
        return self.here.ledger

    @ledger.setter
    def ledger(self, ledger: Ledger) -> None:
        """Let all calls be settled with another ledger."""
        self.here.ledger = ledger

    @property
    def answered_as(self) -> set[tuple[str, str]]:
        """Names and system fingerprints that the server has given in its replies, to any worker."""
        return self.here.answered_as

    def generate(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[tuple[int, Outcome]]:
        """See `OpenAICompatibleEngine.generate`."""
        with closing(self.generate_batches(requests, sampling)) as batches:
            for batch in batches:
                yield from batch

    def generate_batches(
        self, requests: Iterable[Request], sampling: Sampling
    ) -> Generator[list[tuple[int, Any]], None, None]:
        """See `OpenAICompatibleEngine.generate_batches`."""
        groups = group_samples(enumerate(requests), self.here.settings.choices)
        return _Round(self, sampling, sampling.max_tokens).run(groups)

    def logprobs_of(self, requests: Iterable[Request], choices: Sequence[str]) -> Iterator[tuple[int, Any]]:
        """See `OpenAICompatibleEngine.logprobs_of`."""
        with closing(self.logprobs_batches(requests, choices)) as batches:
            for batch in batches:
                yield from batch

    def logprobs_batches(
        self, requests: Iterable[Request], choices: Sequence[str]
    ) -> Generator[list[tuple[int, Any]], None, None]:
        """See `OpenAICompatibleEngine.logprobs_batches`."""
        return _Round(self, tuple(choices), 1).run([row] for row in enumerate(requests))


@dataclass
class _Task:
    """Rows of one call, with what became of them so far."""

    group: Numbered
    allowed: int = 1
    """Calls for which the most that they can cost is reserved."""
    deaths: int = 0
    reserved: Spend = field(default_factory=Spend)


class _Round:
    """One list of rows, from the first to the last answer.

    Args:
        engine: whose rows they are.
        reading: sampling of answers in words, or choices whose log-probs are read.
        most_tokens: that one answer may have.
    """

    def __init__(self, engine: PooledCalls, reading: Sampling | tuple[str, ...], most_tokens: int) -> None:
        self.engine = engine
        self.ledger = engine.ledger
        self.reading = reading
        self.most_tokens = most_tokens
        self.again: deque[_Task] = deque()
        self.flying: dict[Seat, dict[int, _Task]] = {}
        self.polls: dict[Any, tuple[Seat, Any]] = {}
        self.paused_until = 0.0
        self.answered = False
        self.error: Exception | None = None

    def run(self, groups: Iterator[Numbered]) -> Generator[list[tuple[int, Any]], None, None]:
        """Yield outcomes as they come."""
        ray = load_ray()
        waiting = self.ledger.while_allowed(groups)
        try:
            while self.give(waiting):
                polls = list(self.polls)
                # With a time limit: meanwhile another worker may have started.
                ready = ray.wait(polls, num_returns=1, timeout=_LOOK_S)[0] if polls else []
                for poll in ready:
                    if outcomes := self._take(poll):
                        yield outcomes
                if self.error is not None:
                    raise self.error
            if not self.answered:
                self.check_accounts()
            self.ledger.close()
        except GeneratorExit:
            self._stop()
            raise
        except BaseException:
            # Whatever ends the run, what has finished meanwhile is paid for and must reach the store.
            yield self._stop()
            raise

    def give(self, waiting: Iterator[Numbered]) -> bool:
        """Give jobs to workers with room, and see that each with jobs is listened to; False: all is done."""
        seats = self.engine.crew.list_open(wait=not self.polls)
        jobs: dict[Seat, list[CallJob]] = {seat: [] for seat, _ in seats}
        room = {seat: self.engine.slots - len(self.flying.get(seat, {})) for seat in jobs}
        # To whoever has most room: a few rows go to many workers, and not all to the first.
        while room and room[seat := max(room, key=lambda each: room[each])] > 0:
            if (job := self.next_job(waiting, seat)) is None:
                break
            jobs[seat].append(job)
            room[seat] -= 1
        listened = {seat for seat, _ in self.polls.values()}
        pause_s = max(0.0, self.paused_until - time.monotonic())
        for seat, actor in seats:
            if jobs[seat] or (self.flying.get(seat) and seat not in listened):
                self.polls[actor.exchange.remote(jobs[seat], self.ledger.price, pause_s)] = (seat, actor)
        # Whether there is work shows when a worker is there.
        return bool(self.polls) or not seats or (bool(self.again) and not self.ledger.exhausted)

    def next_job(self, waiting: Iterator[Numbered], seat: Seat) -> CallJob | None:
        """Reserve what the next call may cost; None where nothing is left, or the budget does not allow it yet."""
        # One call goes first and shows how this server counts.
        if self.ledger.must_measure:
            return None
        if not self.again:
            group = next(waiting, None)
            if group is None:
                return None
            self.again.append(_Task(group))
        task = self.again[0]
        most = self.ledger.limit_cost(*self.engine.here.limit_tokens(task.group, self.most_tokens)) * task.allowed
        if not self.ledger.reserve(most):
            # Calls in flight give back what they did not need, so that a refusal is final only where none is left.
            self.ledger.exhausted = self.ledger.exhausted or not self.ledger.in_flight
            return None
        self.again.popleft()
        task.reserved = most
        number = next(_NUMBERS)
        self.flying.setdefault(seat, {})[number] = task
        return CallJob(number, task.group, self.reading, most, self.ledger.bills)

    def _take(self, poll: Any) -> list[tuple[int, Any]]:
        """Take a worker's report, or the news of its death."""
        ray = load_ray()
        seat, actor = self.polls.pop(poll)
        try:
            report: CallReport = ray.get(poll)
        except ray.exceptions.RayTaskError as error:
            raise find_cause(error) from None
        except ray.exceptions.RayError as error:
            # Other calls to the same actor fail as well; its rows are taken back once.
            self.polls = {ref: pair for ref, pair in self.polls.items() if pair[1] is not actor}
            self.engine.crew.replace(seat, actor, error)
            return self.lose(seat)
        seat.deaths = 0
        self.engine.answered_as.update(report.names)
        if report.bills is not None:
            self.ledger.note_bills(report.bills)
        self.paused_until = max(self.paused_until, time.monotonic() + report.pause_s)
        self.error = self.error or report.error
        outcomes: list[tuple[int, Any]] = []
        for finished in report.finished:
            task = self.flying.get(seat, {}).pop(finished.number, None)
            if task is None:
                # Of an earlier round, which settled it at the most that it can cost.
                continue
            self.ledger.settle(task.reserved, finished.spent)
            outcomes += finished.outcomes
            answered = {index for index, _ in finished.outcomes}
            if rest := [row for row in task.group if row[0] not in answered]:
                # Attempts in vain have used up what was reserved: more is, so that a row ends.
                self.again.append(_Task(rest, task.allowed * 2, task.deaths))
        self.answered = self.answered or any(not isinstance(outcome, Failure) for _, outcome in outcomes)
        return outcomes

    def lose(self, seat: Seat) -> list[tuple[int, Any]]:
        """Take back the rows of a worker that died; those of which several died have failed."""
        failed: list[tuple[int, Any]] = []
        for task in self.flying.pop(seat, {}).values():
            # Nobody knows how much of it was billed: it counts as the most it can cost.
            self.ledger.settle(task.reserved, task.reserved)
            if task.deaths + 1 >= _DEATHS:
                failed += [(index, Failure(f"{_DEATHS} workers died while they asked", 0)) for index, _ in task.group]
            else:
                self.again.append(_Task(task.group, task.allowed, task.deaths + 1))
        return failed

    def check_accounts(self) -> None:
        """Refuse to end quietly where every row met a refusal of the account."""
        ray = load_ray()
        for _, actor in self.engine.crew.list_open(wait=False):
            try:
                ray.get(actor.check_account.remote())
            except ray.exceptions.RayTaskError as error:
                raise find_cause(error) from None

    def _stop(self) -> list[tuple[int, Any]]:
        """Cancel all calls, and settle what they have cost; return outcomes that had come."""
        ray = load_ray()
        outcomes: list[tuple[int, Any]] = []
        try:
            self.polls.update({actor.stop.remote(): (seat, actor) for seat, actor in set(self.polls.values())})
            polls = list(self.polls)
            for poll in ray.wait(polls, num_returns=len(polls), timeout=_STOP_S)[0] if polls else []:
                if poll in self.polls:
                    outcomes += self._take(poll)
        except Exception:
            # Another error is on its way already, and it is the one to report.
            self.polls.clear()
        for tasks in self.flying.values():
            for task in tasks.values():
                self.ledger.settle(task.reserved, task.reserved)
        self.flying.clear()
        self.ledger.close()
        return outcomes
