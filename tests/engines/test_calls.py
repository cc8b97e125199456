"""One call: tried again where that helps, given up where not, and never a secret in what is said of it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import pytest

from prefboost.engines.budget import Budget, Ledger, Spend
from prefboost.engines.calls import BudgetSpent, Caller, Limits, Question, client_for, redactor
from prefboost.engines.engine import Failure
from prefboost.engines.replies import Malformed, Refused, Unavailable
from prefboost.errors import ModelError

QUICK = Limits(attempts=3, backoff_s=0.001, timeout_s=0.2, longest_wait_s=0.5)
QUESTION = Question("/chat/completions", {"messages": []}, 10, 40, 60)
KEY = "sk-live-0123456789abcdef"
FINE = {"choices": [1], "usage": {"prompt_tokens": 12, "completion_tokens": 5}}


def good(**headers: str) -> httpx.Response:
    return httpx.Response(200, json=FINE, headers=headers)


class Server:
    """Gives responses, or raises exceptions, in a fixed order; the last again and again."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.times: list[float] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.times.append(time.monotonic())
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer == "hang":
            await asyncio.sleep(30)
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, content=answer.content, headers=answer.headers)


def call(server: Server, read: Any = lambda reply: "fine", limits: Limits = QUICK, ledger: Ledger | None = None) -> Any:
    async def asked() -> Any:
        async with httpx.AsyncClient(transport=httpx.MockTransport(server), base_url="http://x/v1") as client:
            return await Caller(client, limits, ledger or Ledger(), redactor(KEY)).ask(QUESTION, read)

    return asyncio.run(asked())


def failing(kind: type[Exception]) -> Any:
    def read(reply: Any) -> Any:
        raise kind(f"found {KEY}")

    return read


@pytest.mark.parametrize(
    "trouble",
    [
        httpx.Response(500, text="<html>"), httpx.Response(429, json={"error": "slow down"}), httpx.Response(408),
        httpx.Response(200, text='{"half'), httpx.Response(200, json={"error": {"message": "overloaded"}}),
        httpx.Response(200, text="[" * 100_000), httpx.ReadError("cut"), httpx.ConnectError("refused"),
        httpx.RemoteProtocolError("truncated"), "hang",
    ],
    ids=lambda each: getattr(each, "status_code", each),
)  # fmt: skip
def test_what_may_pass_is_tried_again(trouble: Any) -> None:
    server = Server(trouble, good())
    assert call(server) == "fine"
    assert len(server.times) == 2


def test_after_the_last_attempt_the_row_has_failed_with_its_reason() -> None:
    server = Server(httpx.Response(503, json={"error": {"message": f"busy, your key is {KEY}"}}))
    assert call(server) == Failure("HTTP 503: busy, your key is [secret]", 3)
    assert len(server.times) == 3
    assert call(Server(good()), failing(Malformed)) == Failure("found [secret]", 3)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refusal_is_final(status: int) -> None:
    server = Server(httpx.Response(status, json={"error": {"message": "too long"}}))
    assert call(server) == Failure(f"HTTP {status}: too long", 1, permanent=True)
    assert call(Server(good()), failing(Refused)) == Failure("found [secret]", 1, permanent=True)


@pytest.mark.parametrize("status", [401, 403, 404, 307])
def test_a_wrong_key_model_or_address_stops_everything(status: int) -> None:
    with pytest.raises(ModelError, match="mend base_url, model, or the environment variable") as caught:
        call(Server(httpx.Response(status, json={"error": {"message": f"no entry for {KEY}"}})))
    assert KEY not in str(caught.value)


def test_a_server_that_never_answers_stops_everything() -> None:
    with pytest.raises(ModelError, match="gave no answer in 3 attempts: cannot connect"):
        call(Server(httpx.ConnectError("refused")))


def test_a_server_without_log_probs_stops_everything() -> None:
    with pytest.raises(ModelError, match="take a server that gives them"):
        call(Server(good()), failing(Unavailable))


def test_retry_after_is_honoured_and_too_long_a_wait_is_not_met() -> None:
    server = Server(httpx.Response(429, headers={"Retry-After": "0.15"}), good())
    assert call(server) == "fine"
    assert server.times[1] - server.times[0] >= 0.15
    failure = call(Server(httpx.Response(429, headers={"Retry-After": "3600"}, json={"error": "quota"})))
    assert failure == Failure("HTTP 429: quota; it asks to wait 3600 s", 1)


def test_every_attempt_counts_and_only_what_may_be_billed_costs_tokens() -> None:
    ledger = Ledger()
    call(Server(httpx.Response(500), good()), ledger=ledger)
    assert ledger.spent == Spend(2, 12, 5)
    ledger = Ledger()
    call(Server(httpx.ReadError("cut"), good()), ledger=ledger)
    assert ledger.spent == Spend(2, 40 + 12, 60 + 5), "a call that broke off counts as the most it can cost"
    assert ledger.in_flight == 0


def test_no_call_is_made_that_the_budget_may_not_allow() -> None:
    for budget in (Budget(tokens=99), Budget(requests=0)):
        server, ledger = Server(good()), Ledger(budget)
        with pytest.raises(BudgetSpent):
            call(server, ledger=ledger)
        assert (server.times, ledger.exhausted) == ([], True)
    server = Server(httpx.Response(500))
    with pytest.raises(BudgetSpent):
        call(server, ledger=Ledger(Budget(requests=2)))
    assert len(server.times) == 2


def test_a_rate_spreads_calls() -> None:
    limits = Limits(requests_per_minute=600.0, attempts=60, backoff_s=1e-6, longest_wait_s=1e-3)
    server = Server(*[httpx.Response(500)] * 54, good())
    call(server, limits=limits)
    assert server.times[-1] - server.times[0] > 0.3, "ten a second after a burst of five seconds' worth"


def test_a_key_is_sent_and_shown_nowhere() -> None:
    client = client_for("http://127.0.0.1:1/v1", KEY, QUICK)
    assert client.headers["authorization"] == f"Bearer {KEY}"
    assert "authorization" not in client_for("http://127.0.0.1:1/v1", None, QUICK).headers
    assert not client.follow_redirects
    assert redactor(KEY)(f"a {KEY} b Bearer abcdefghijkl c") == "a [secret] b Bearer [secret] c"
    assert len(redactor(None)("x" * 1000)) == 300
