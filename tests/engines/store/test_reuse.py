"""Asking through a store: what is there is not asked again, and what differs is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from prefboost.engines.budget import Budget, Ledger
from prefboost.engines.engine import Failure, Outcome, Request, Result, Sampling
from prefboost.engines.store.reuse import generate_stored, generate_within_budget, logprobs_stored, query_completion
from prefboost.engines.store.store import Store

SAMPLING = Sampling(max_tokens=10)


class Counting:
    """Batches of two where it is not remote; counts what it is asked."""

    identity = "counting"
    says_goals = True
    context = None

    def __init__(self, remote: bool) -> None:
        self.remote = remote
        self.ledger = Ledger()
        self.asked: list[str] = []
        self.failing: dict[str, Failure] = {}

    def render(self, request: Request) -> str:
        return f"{request.prompt[-1]['content']}|{request.goal}"

    def prompt_tokens(self, requests: Sequence[Request]) -> list[int]:
        return [3 for _ in requests]

    def plan(self, requests: Sequence[Request], sampling: Sampling) -> list[list[int]]:
        return [list(range(at, min(at + 2, len(requests)))) for at in range(0, len(requests), 2)]

    def generate(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[tuple[int, Outcome]]:
        for index, request in enumerate(requests):
            text = f"{self.render(request)}|{request.sample}"
            self.asked.append(text)
            yield index, self.failing.get(text, Result(text, "stop", 3, 4))

    def logprobs_of(self, requests: Iterable[Request], choices: Sequence[str]) -> Iterator[Any]:
        for index, request in enumerate(requests):
            self.asked.append(self.render(request))
            yield index, tuple(-float(at) if at else -math.inf for at in range(len(choices)))


def request(text: str, sample: int = 0, **more: Any) -> Request:
    return Request([{"role": "user", "content": text, "extra": None}], sample, **more)


REQUESTS = [request(text, sample) for text in ("a", "b", "c") for sample in (0, 1)] + [request("a", 0)]


def collect(engine: Any, requests: Sequence[Request], path: Path, sampling: Sampling = SAMPLING) -> dict[int, Any]:
    with Store(path) as store:
        engine.ledger = Ledger(engine.ledger.budget, book=store.book())
        return dict(pair for done in generate_stored(engine, requests, sampling, store) for pair in done.results)


@pytest.fixture(params=[True, False], ids=["remote", "local"])
def engine(request: pytest.FixtureRequest) -> Any:
    return Counting(request.param)


def test_every_request_is_answered_and_equal_ones_are_asked_once(engine: Any, tmp_path: Path) -> None:
    found = collect(engine, REQUESTS, tmp_path / "s")
    assert [found[index].text for index in range(7)] == [
        f"{each.prompt[-1]['content']}|None|{each.sample}" for each in REQUESTS
    ]
    assert len(engine.asked) == 6
    assert collect(engine, REQUESTS, tmp_path / "s") == found
    assert len(engine.asked) == 6


def test_an_edited_prompt_reruns_its_row_alone(engine: Any, tmp_path: Path) -> None:
    collect(engine, REQUESTS, tmp_path / "s")
    engine.asked.clear()
    collect(engine, [*REQUESTS[:3], request("B", 1), *REQUESTS[4:]], tmp_path / "s")
    assert engine.asked == ["B|None|1"]


def test_keys_tell_apart_all_that_a_completion_depends_on(engine: Any) -> None:
    one = request("a")
    variants = [
        (one, SAMPLING), (request("b"), SAMPLING), (request("a", 1), SAMPLING), (request("a", goal=7.0), SAMPLING),
        (request("a", json_schema="{}"), SAMPLING), (one, Sampling(max_tokens=11)), (one, Sampling(seed=1)),
    ]  # fmt: skip
    assert len({query_completion(engine, each, sampling).key for each, sampling in variants}) == len(variants)


def test_failures_stop_no_other_row_and_are_asked_again_in_the_next_call(engine: Any, tmp_path: Path) -> None:
    refused = Failure("refused", 1, permanent=True, content=True)
    engine.failing = {"b|None|0": Failure("500", 6), "c|None|1": refused}
    found = collect(engine, REQUESTS, tmp_path / "s")
    assert [type(found[index]) for index in range(7)] == [Result, Result, Failure, Result, Result, Failure, Result]
    engine.failing = {}
    engine.asked.clear()
    found = collect(engine, REQUESTS, tmp_path / "s")
    assert engine.asked == ["b|None|0"]
    assert found[5] == refused


def test_rows_that_failed_before_are_asked_after_those_that_were_not_asked(tmp_path: Path) -> None:
    engine: Any = Counting(remote=True)
    engine.failing = {"a|None|0": Failure("blocked", 6)}
    collect(engine, REQUESTS[:2], tmp_path / "s")
    engine.asked.clear()
    collect(engine, REQUESTS, tmp_path / "s")
    assert engine.asked == ["b|None|0", "b|None|1", "c|None|0", "c|None|1", "a|None|0"]


def test_an_interrupted_batch_leaves_nothing_half_done(tmp_path: Path) -> None:
    class Stops(Counting):
        def generate(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[tuple[int, Outcome]]:
            for index, outcome in super().generate(requests, sampling):
                if len(self.asked) == 4:
                    raise KeyboardInterrupt
                yield index, outcome

    for remote, kept in ((True, 3), (False, 2)):
        with pytest.raises(KeyboardInterrupt):
            collect(Stops(remote), REQUESTS, tmp_path / str(remote))
        with Store(tmp_path / str(remote)) as store:
            assert len(list(store.rows())) == kept


def test_a_budget_ends_generation_before_it_is_exceeded_and_a_larger_one_goes_on(tmp_path: Path) -> None:
    engine = Counting(remote=False)
    engine.ledger = Ledger(Budget(tokens=45))
    assert len(collect(engine, REQUESTS[:6], tmp_path / "s")) == 4, (
        "two batches took 14 tokens each; a third may take 26"
    )
    assert engine.ledger.exhausted
    assert (engine.ledger.spent.prompt_tokens, engine.ledger.spent.tokens) == (12, 16)
    engine.ledger = Ledger(Budget(tokens=60))
    assert len(collect(engine, REQUESTS[:6], tmp_path / "s")) == 6
    assert len(engine.asked) == 6


def test_without_a_store_the_budget_counts_too() -> None:
    engine: Any = Counting(remote=False)
    engine.ledger = Ledger(Budget(requests=3))
    assert list(generate_within_budget(engine, REQUESTS[:4], SAMPLING)) == []
    assert engine.ledger.exhausted
    engine.ledger = Ledger(Budget(requests=4))
    assert len(list(generate_within_budget(engine, REQUESTS[:4], SAMPLING))) == 4
    assert engine.ledger.spent.tokens == 16


def test_log_probs_of_choices_are_kept_too(engine: Any, tmp_path: Path) -> None:
    for _ in range(2):
        with Store(tmp_path / "s") as store:
            found = [pair for done in logprobs_stored(engine, REQUESTS, ["A", "B"], store) for pair in done.results]
        assert dict(found) == dict.fromkeys(range(7), (-math.inf, -1.0))
    assert len(engine.asked) == 3, "samples of one prompt have the same log-probs"
