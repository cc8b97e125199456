"""Jobs with an allowance: answered in messages, never dearer than allowed, and stopped without loss."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from faulty_server import FaultyServer, answer_to
from hypothesis import given, settings
from hypothesis import strategies as st

from prefboost.engines.budget import Budget, Ledger, Spend
from prefboost.engines.engine import Request, Result, Sampling
from prefboost.engines.openai.engine import OpenAICompatible, OpenAICompatibleEngine
from prefboost.engines.openai.job_runner import CallJob, CallReport, JobRunner
from prefboost.errors import ModelError

SAMPLING = Sampling(max_tokens=30)
AMPLE = Spend(requests=100, prompt_tokens=10**6, tokens=10**6)


def build_job(number: int, reading: Any = SAMPLING, allowance: Spend = AMPLE) -> CallJob:
    return CallJob(
        number, [(number, Request([{"role": "user", "content": f"row {number}"}]))], reading, allowance, None
    )


def run_jobs(server: FaultyServer, budget: Budget, work: Callable[[JobRunner], Awaitable[Any]], **changes: Any) -> Any:
    async def run() -> Any:
        runner = JobRunner()
        limits = {"concurrency": 4, "backoff_s": 0.001, "timeout_s": 1800.0, **changes}
        await runner.open(OpenAICompatible(model="m", base_url=server.base_url, **limits), budget, {})
        try:
            return await work(runner)
        finally:
            await runner.stop()
            await runner._caller.client.aclose()

    return asyncio.run(run())


async def exchange_all(runner: JobRunner, jobs: list[CallJob]) -> list[CallReport]:
    reports = [await runner.exchange(jobs, None)]
    while sum(len(report.finished) for report in reports) < len(jobs):
        reports.append(await runner.exchange([], None))
    return reports


@pytest.mark.parametrize("reading", [SAMPLING, ("A", "B")])
def test_every_job_is_reported_once_with_its_answer_and_cost(reading: Any) -> None:
    with FaultyServer(rates={"500": 0.2}, attempts=8, named=("model-7", "")) as server:
        jobs = [build_job(number, reading) for number in range(20)]
        reports = run_jobs(server, Budget(), lambda runner: exchange_all(runner, jobs), attempts=8)
        finished = [job for report in reports for job in report.finished]
        assert sorted(job.number for job in finished) == list(range(20))
        assert sum(job.spent.requests for job in finished) == server.calls
        # What a server counts for a question about its first token is more than it bills.
        assert sum(job.spent.prompt_tokens + job.spent.tokens for job in finished) >= server.billed
        assert reports[-1].names == {("model-7", "")} and reports[-1].bills is not None and reports[-1].error is None
    # The server may note its last answer after the client has it: only once it is closed is its list whole.
    for job in finished:
        [(index, outcome)] = job.outcomes
        assert index == job.number
        if isinstance(reading, Sampling):
            assert isinstance(outcome, Result) and outcome.text in {
                answer_to(prompt, seed) for prompt, seed in server.answered if prompt == f"row {index}"
            }
        else:
            assert outcome == (pytest.approx(-0.806, abs=1e-3), -0.5)  # the mass of A with and without a blank


@settings(max_examples=15)
@given(tokens=st.integers(0, 400), requests=st.integers(0, 3))
def test_a_job_never_costs_more_than_it_is_allowed(tokens: int, requests: int) -> None:
    budget, allowance = Budget(tokens=10**9, requests=10**9), Spend(requests, 0, tokens)
    with FaultyServer(rates={"500": 0.4}) as server:
        [report] = run_jobs(server, budget, lambda runner: exchange_all(runner, [build_job(0, allowance=allowance)]))
        assert server.calls <= requests and server.billed <= tokens
        [job] = report.finished
        assert job.spent.requests == server.calls and job.spent.prompt_tokens + job.spent.tokens == server.billed
        assert job.outcomes == [] or server.answered


def test_the_tokens_that_are_reserved_for_a_group_cover_its_bill() -> None:
    engine = OpenAICompatibleEngine(OpenAICompatible(model="m"))
    group = [(at, Request([{"role": "user", "content": "row 0"}], at)) for at in range(3)]
    most = Ledger().limit_cost(*engine.limit_tokens(group, SAMPLING.max_tokens))
    assert most.tokens == 90 and most.prompt_tokens >= len("row 0")


def hang_on_row_1(body: dict[str, Any], number: int) -> str | None:
    return "hang" if body["messages"][-1]["content"] == "row 1" else None


def test_what_runs_is_cancelled_by_a_stop_and_what_has_finished_is_reported() -> None:
    with FaultyServer(
        script=lambda body, number: "hang" if body["messages"][-1]["content"] == "row 1" else None
    ) as server:

        async def work(runner: JobRunner) -> list[CallReport]:
            first = await runner.exchange([build_job(0), build_job(1)], None)
            return [first, await runner.stop()]

        first, last = run_jobs(server, Budget(), work)
        assert [job.number for job in first.finished] == [0]
        [cancelled] = last.finished
        # Nobody knows whether the server bills a call that was broken off: it counts as the most it can cost.
        assert cancelled.number == 1 and cancelled.outcomes == [] and cancelled.spent.requests == 1


def test_an_error_that_ends_a_run_is_reported_once() -> None:
    with FaultyServer(key="right") as server:

        async def work(runner: JobRunner) -> list[CallReport]:
            return [await runner.exchange([build_job(0)], None), await runner.exchange([], None)]

        first, second = run_jobs(server, Budget(), work)
        assert isinstance(first.error, ModelError) and "refuses" in str(first.error)
        assert second.error is None and second.finished == []


def test_a_pause_that_one_runner_is_told_of_is_taken_and_handed_on() -> None:
    with FaultyServer() as server:

        async def work(runner: JobRunner) -> tuple[float, float]:
            began = time.monotonic()
            report = await runner.exchange([build_job(0)], None, 0.3)
            assert len(report.finished) == 1
            taken = runner._caller.server.paused_until - began
            # As a server's Retry-After sets it.
            runner._caller.server.paused_until = began + 1000.0
            return taken, (await runner.exchange([], None)).pause_s

        taken, handed_on = run_jobs(server, Budget(), work)
        assert taken >= 0.3 and 0.0 < handed_on <= 1000.0
