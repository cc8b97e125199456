"""A pool computes whole planned batches, several at a time, and changes nothing of what comes out."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_engine import Scripted
from waiting import PATIENCE_S

from prefboost.engines.call_session import CallSession
from prefboost.engines.engine import Failure, Request, Result, Sampling
from prefboost.engines.openai.engine import OpenAICompatible
from prefboost.engines.pool import (
    LostWork,
    PooledEngine,
    count_batches_at_once,
    list_models,
    open_engine,
    open_model,
    run_batches,
    work_with,
)
from prefboost.engines.store.reuse import generate_stored
from prefboost.engines.store.store import Store
from prefboost.runs.score.judge import Judging
from prefboost.scoring.judges.llm import LlmJudge

SAMPLING = Sampling(max_tokens=8)


class InThisProcess:
    """Workers that are one engine of this process; ``lost`` prompts kill whoever computes them."""

    at_once = 3

    def __init__(self, engine: Any, lost: Sequence[str] = ()) -> None:
        self.engine = engine
        self.lost = lost
        self.calls: list[tuple[str, int]] = []

    def call(self, name: str, *arguments: Any) -> Any:
        value = getattr(self.engine, name)
        if not callable(value):
            return value
        self.calls.append((name, len(arguments[0])))
        if any(request.prompt[-1]["content"] in self.lost for request in arguments[0]):
            raise LostWork("3 workers died over these rows")
        found = value(*arguments)
        return list(found) if hasattr(found, "__next__") else found


class OnePool:
    """A pool that opens what it is told to."""

    def __init__(self, workers: InThisProcess) -> None:
        self.workers = workers

    def open_engine(self, settings: Any) -> Any:
        return PooledEngine(settings.open(), self.workers)

    def open_model(self, device: str, load: Any, arguments: Sequence[Any]) -> Any:
        return (device, load(*arguments))


def ask(text: str) -> Request:
    return Request([{"role": "user", "content": text}])


REQUESTS = [ask(f"question {number}") for number in range(7)]


@given(st.lists(st.integers(0, 9), max_size=30), st.integers(1, 5))
def test_every_batch_comes_once_with_its_values(sizes: list[int], at_once: int) -> None:
    batches = [list(range(at, at + size)) for at, size in enumerate(sizes)]
    drawn = run_batches(batches, lambda batch: [-index for index in batch], at_once)
    assert sorted(drawn) == sorted((batch, [-index for index in batch]) for batch in batches)


def test_as_many_batches_run_at_a_time_as_are_allowed_and_none_is_drawn_before_its_turn() -> None:
    drawn: list[int] = []
    meeting = threading.Barrier(3, timeout=PATIENCE_S)  # passed only by three at a time

    def draw() -> Any:
        for number in range(6):
            drawn.append(number)
            yield [number]

    def compute(batch: list[int]) -> list[int]:
        meeting.wait()
        return batch

    for count, (batch, values) in enumerate(run_batches(draw(), compute, 3)):
        assert batch == values and len(drawn) <= count + 3 + 2
    assert drawn == list(range(6))


def test_an_error_of_a_batch_is_raised_behind_the_values_that_came_with_it() -> None:
    def compute(batch: list[int]) -> list[int]:
        if batch == [1]:
            raise LostWork("gone")
        return batch

    done = []
    with pytest.raises(LostWork):
        for batch, _ in run_batches([[0], [1], [2]], compute, 1):
            done.append(batch)
    assert done == [[0]]


def test_a_pooled_engine_stores_what_the_engine_alone_stores_in_the_same_batches(tmp_path: Path) -> None:
    script = Scripted.by(say=str.upper, weigh=lambda prompt, choices: [-0.5] * len(choices))
    workers = InThisProcess(script.open())
    stored = []
    for name, engine in (("alone", script.open()), ("pool", PooledEngine(script.open(), workers))):
        with Store(tmp_path / name) as store:
            batches = list(generate_stored(engine, REQUESTS, SAMPLING, store))
            stored.append({row.key: row.stored for row in store.rows()})
        assert sorted(len(batch.results) for batch in batches) == [1, 2, 2, 2]
    assert stored[0] == stored[1] and len(stored[0]) == 7
    assert sorted(workers.calls) == [("generate", 1)] + 3 * [("generate", 2)]
    pooled = PooledEngine(script.open(), workers)
    assert count_batches_at_once(pooled) == 3 and count_batches_at_once(script.open()) == 1
    assert dict(pooled.generate(REQUESTS, SAMPLING)) == dict(script.open().generate(REQUESTS, SAMPLING))
    assert list(pooled.logprobs_of(REQUESTS[:2], ("A", "B"))) == [(0, (-0.5, -0.5)), (1, (-0.5, -0.5))]


def test_rows_of_a_batch_that_kills_its_workers_are_failures_and_the_others_are_answered() -> None:
    script = Scripted.by(say=str.upper)
    outcomes = dict(
        PooledEngine(script.open(), InThisProcess(script.open(), ["question 2"])).generate(REQUESTS, SAMPLING)
    )
    assert {index for index, outcome in outcomes.items() if isinstance(outcome, Failure)} == {2, 3}
    assert isinstance(outcomes[0], Result) and outcomes[0].text == "QUESTION 0"


def test_models_open_on_the_pool_within_its_block_alone() -> None:
    script = Scripted.by(say=str.upper)
    assert open_engine(script) is script.open() and open_model("cpu", dict, [(1, 2)]) == {1: 2}
    with work_with(OnePool(InThisProcess(script.open()))):
        assert isinstance(open_engine(script), PooledEngine)
        assert isinstance(CallSession().open_engine(script), PooledEngine)
        assert open_model("cuda", dict, [(1, 2)]) == ("cuda", {1: 2})
    assert open_engine(script) is script.open()


def test_models_are_found_wherever_they_stand_in_settings_and_equal_ones_once() -> None:
    server = OpenAICompatible(model="m")
    assert list_models(Judging(judge=LlmJudge(engine=server))) == [server]
    assert list_models((server, {"no": "settings"}, OpenAICompatible(model="m"))) == [server]
