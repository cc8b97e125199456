"""Several servers with one model: calls are spread, a server that goes is set aside, and no row is lost with it."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from faulty_server import FaultyServer, answer_to
from pydantic import ValidationError
from waiting import PATIENCE_S, wait_until

from prefboost.engines.budget import Budget, Ledger
from prefboost.engines.engine import Failure, Request, Result, Sampling, row_seed
from prefboost.engines.openai import replicas
from prefboost.engines.openai.engine import OpenAICompatible, OpenAICompatibleEngine
from prefboost.engines.store.reuse import query_completion
from prefboost.errors import ModelError

SAMPLING = Sampling(max_tokens=50)
NOBODY = "http://127.0.0.1:1/v1"
ROWS = 200


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger=replicas.__name__)


def open_at(*addresses: str, **changes: Any) -> OpenAICompatibleEngine:
    quick: dict[str, Any] = {"concurrency": 16, "timeout_s": PATIENCE_S, "backoff_s": 0.005}
    return OpenAICompatible(model="m", base_urls=addresses, **(quick | changes)).open()


def make_requests(rows: int = ROWS) -> list[Request]:
    return [Request([{"role": "user", "content": f"p{number}"}]) for number in range(rows)]


def check_all(
    engine: OpenAICompatibleEngine, requests: list[Request], outcomes: list[tuple[int, Result | Failure]]
) -> None:
    """Every row is there once, with the completion that is right for it."""
    assert sorted(index for index, _ in outcomes) == list(range(len(requests)))
    for index, outcome in outcomes:
        seed = row_seed(SAMPLING, engine.render(requests[index]), 0) % 2**31
        assert isinstance(outcome, Result), outcome
        assert outcome.text == answer_to(f"p{index}", seed)


def ask_all(engine: OpenAICompatibleEngine, requests: list[Request]) -> None:
    check_all(engine, requests, list(engine.generate(iter(requests), SAMPLING)))


def test_calls_are_spread_over_the_servers_and_limits_hold_over_all_of_them() -> None:
    with FaultyServer(delay_s=0.005) as first, FaultyServer(delay_s=0.005) as second:
        ask_all(open_at(first.base_url, second.base_url), make_requests())
        assert first.calls + second.calls >= ROWS
        assert min(first.calls, second.calls) > ROWS / 10
        before = first.calls + second.calls
        engine = open_at(first.base_url, second.base_url)
        engine.ledger = Ledger(Budget(requests=30))
        assert 0 < len(list(engine.generate(iter(make_requests()), SAMPLING))) <= 30
        assert first.calls + second.calls - before <= 30


def test_a_slower_server_gets_fewer_calls() -> None:
    with FaultyServer() as quick, FaultyServer(delay_s=0.2) as slow:
        ask_all(open_at(quick.base_url, slow.base_url, concurrency=4), make_requests(100))
    assert slow.calls < quick.calls


def test_no_row_is_lost_with_a_server_that_dies_and_one_that_comes_back_takes_calls_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replicas, "FIRST_PROBE_S", 0.01)
    monkeypatch.setattr(replicas, "_LONGEST_PROBE_S", 0.05)
    requests = make_requests(600)
    with FaultyServer() as first, ExitStack() as second_life:
        second = FaultyServer()
        with ExitStack() as life:
            life.enter_context(second)
            address = second.base_url
            engine = open_at(first.base_url, address)
            batches = engine.generate(iter(requests), SAMPLING)
            outcomes = [next(batches) for _ in range(60)]
            assert not caplog.messages
        # Dead, in the middle of its calls.
        while f"{address} is set aside" not in caplog.text:
            outcomes.append(next(batches))
        third = second_life.enter_context(FaultyServer(port=int(address.rpartition(":")[2].removesuffix("/v1"))))
        wait_until(lambda: f"{address} is back" in caplog.text, "the server is probed")
        outcomes += list(batches)
        check_all(engine, requests, outcomes)
        assert third.answered.total() > 0
    assert "1 of 2 take calls" in caplog.text


def test_servers_that_all_die_in_mid_run_are_one_error_that_names_them() -> None:
    with ExitStack() as lives:
        addresses = [lives.enter_context(FaultyServer()).base_url for _ in range(2)]
        batches = open_at(*addresses, attempts=2).generate(iter(make_requests()), SAMPLING)
        outcomes = [next(batches) for _ in range(60)]
        lives.close()
        with pytest.raises(ModelError, match=r"is gone: .*no replica answers") as caught:
            outcomes += list(batches)
    assert all(address in str(caught.value) for address in addresses)
    indices = [index for index, _ in outcomes]
    assert len(indices) == len(set(indices))


def test_a_row_that_every_server_refuses_for_its_pace_fails_and_is_not_asked_for_ever() -> None:
    def refuse(body: dict[str, Any], number: int) -> tuple[int, Any]:
        return 429, {"error": {"message": "slow down"}}

    with FaultyServer(script=refuse) as first, FaultyServer(script=refuse) as second:
        engine = open_at(first.base_url, second.base_url, attempts=2, longest_wait_s=0.05)
        outcomes = [outcome for _, outcome in engine.generate(iter(make_requests(4)), SAMPLING)]
        assert len(outcomes) == 4 and all(isinstance(outcome, Failure) for outcome in outcomes)
        # Two attempts of a row, and one more for a server that has not had it.
        assert first.calls + second.calls <= 4 * 3


def test_a_server_that_is_down_at_the_start_is_named_and_none_at_all_is_an_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with FaultyServer() as server:
        engine = open_at(NOBODY, server.base_url)
        ask_all(engine, make_requests(20))
        ask_all(engine, make_requests(20))
    # Runs that follow each other name it once.
    assert [message.partition(" (")[0] for message in caplog.messages] == [
        f"the replica at {NOBODY} is set aside: cannot be reached"
    ]
    with pytest.raises(ModelError, match=r"no replica serves m: http://127\.0\.0\.1:1/v1 cannot be reached"):
        list(open_at(NOBODY, "http://127.0.0.1:2/v1").generate(iter(make_requests()), SAMPLING))
    # Many rows meet that error at once, and asyncio prints none of them.
    gc.collect()
    assert "never retrieved" not in caplog.text


def test_a_server_of_another_model_gets_no_row(caplog: pytest.LogCaptureFixture) -> None:
    with FaultyServer() as right, FaultyServer(models=("other",)) as wrong:
        ask_all(open_at(right.base_url, wrong.base_url), make_requests(40))
        assert f"{wrong.base_url} is set aside: serves other and not m; " in caplog.text
        with pytest.raises(ModelError, match="serves other and not m"):
            list(open_at(wrong.base_url).generate(iter(make_requests()), SAMPLING))
    assert wrong.calls == 0 and wrong.listings >= 2


@pytest.mark.parametrize("models", [None, (), ("m:latest",), ("x", "models/m")])
def test_a_server_that_lists_no_models_or_the_model_under_a_longer_name_is_asked(models: tuple[str, ...]) -> None:
    with FaultyServer(models=models) as server:
        ask_all(open_at(server.base_url), make_requests(3))


@pytest.fixture
def _late_probes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(replicas, "FIRST_PROBE_S", PATIENCE_S)
    monkeypatch.setattr(replicas, "_LONGEST_PROBE_S", PATIENCE_S)
    yield


@pytest.mark.usefixtures("_late_probes")
@pytest.mark.parametrize("trouble", [(500, "broken"), (404, "reloads"), "reset"], ids=str)
def test_a_server_that_breaks_every_call_is_set_aside_and_costs_no_row_its_last_attempt(
    trouble: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with FaultyServer() as good, FaultyServer(script=lambda body, call: trouble) as bad:
        ask_all(open_at(good.base_url, bad.base_url, attempts=1), make_requests())
    assert f"{bad.base_url} is set aside: " in caplog.text and "3 calls in succession" in caplog.text
    assert 3 <= bad.calls < ROWS / 2


@pytest.mark.usefixtures("_late_probes")
def test_a_server_that_accepts_calls_and_never_answers_is_set_aside(caplog: pytest.LogCaptureFixture) -> None:
    with FaultyServer() as good, FaultyServer(script=lambda body, call: "hang") as hung:
        ask_all(open_at(good.base_url, hung.base_url, timeout_s=3.0, attempts=20), make_requests(16))
    assert f"{hung.base_url} is set aside: no answer in 3 s" in caplog.text


@pytest.mark.usefixtures("_late_probes")
def test_servers_that_are_all_set_aside_for_errors_are_asked_by_the_rules_of_one() -> None:
    def stumble(body: dict[str, Any], call: int) -> tuple[int, Any] | None:
        return (503, "busy") if call <= 8 else None

    with FaultyServer(script=stumble) as first, FaultyServer(script=stumble) as second:
        ask_all(open_at(first.base_url, second.base_url, attempts=60, backoff_s=0.001), make_requests(40))
    broken = FaultyServer(script=lambda body, call: (503, "busy"))
    with broken, pytest.raises(ModelError, match="HTTP 503: busy"):
        list(open_at(broken.base_url, attempts=2).generate(iter(make_requests()), SAMPLING))


def test_the_key_of_an_answer_does_not_depend_on_which_replicas_there_are() -> None:
    (asked,) = make_requests(1)
    groups = [("http://a/v1", "http://b/v1"), ("http://b/v1/", "http://a/v1"), ("http://b/v1",)]
    assert len({query_completion(open_at(*group), asked, SAMPLING).key for group in groups}) == 1
    others = [open_at(*groups[0], revision="2"), OpenAICompatible(model="m").open()]
    assert len({query_completion(each, asked, SAMPLING).key for each in [open_at(*groups[0]), *others]}) == 3


@pytest.mark.parametrize(
    ("addresses", "more", "words"),
    [
        (["http://a/v1", "http://a/v1/"], {}, "an address stands twice"),
        (["http://a/v1"], {"base_url": "http://b/v1"}, "exclude each other"),
        (["http://user:secret@a/v1"], {}, "may hold no key"),
        (["a:8000"], {}, "begins with http"),
    ],
)
def test_addresses_that_cannot_be_meant_are_refused(addresses: list[str], more: dict[str, str], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        OpenAICompatible(model="m", base_urls=addresses, **more)  # type: ignore[arg-type]
