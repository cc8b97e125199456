"""One call: tried again where that helps, given up where not, and never a secret in what is said of it."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import httpx
import pytest
from waiting import PATIENCE_S

from prefboost.engines.budget import Budget, Ledger, Spend
from prefboost.engines.engine import Failure
from prefboost.engines.openai.calls import BudgetSpent, Caller, Question, make_redactor
from prefboost.engines.openai.pacing import CallLimits
from prefboost.engines.openai.replies import Malformed, RefusedRowError, Unavailable
from prefboost.errors import ModelError

QUICK = CallLimits(attempts=3, backoff_s=0.001, timeout_s=PATIENCE_S, longest_wait_s=0.5)
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
            await asyncio.Event().wait()
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, content=answer.content, headers=answer.headers)


def call(
    server: Server, read: Any = lambda reply: "fine", limits: CallLimits = QUICK, ledger: Ledger | None = None
) -> Any:
    async def asked() -> Any:
        async with httpx.AsyncClient(transport=httpx.MockTransport(server), base_url="http://x/v1") as client:
            return await Caller(client, limits, ledger or Ledger(), make_redactor(KEY)).ask(QUESTION, read)

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
        httpx.RemoteProtocolError("truncated"),
    ],
    ids=lambda each: getattr(each, "status_code", each),
)  # fmt: skip
def test_what_may_pass_is_tried_again(trouble: Any) -> None:
    server = Server(trouble, good())
    assert call(server) == "fine"
    assert len(server.times) == 2


def test_a_call_that_hangs_is_given_up_and_tried_again() -> None:
    server = Server("hang", good())
    # On a busy machine the good reply may come too late as well, now and then.
    assert call(server, limits=CallLimits(attempts=1000, backoff_s=0.001, timeout_s=0.2)) == "fine"
    assert len(server.times) >= 2


def test_after_the_last_attempt_the_row_has_failed_with_its_reason() -> None:
    server = Server(httpx.Response(503, json={"error": {"message": f"busy, your key is {KEY}"}}))
    assert call(server) == Failure("HTTP 503: busy, your key is [secret]", 3)
    assert len(server.times) == 3
    assert call(Server(good()), failing(Malformed)) == Failure("found [secret]", 3)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refusal_is_final(status: int) -> None:
    server = Server(httpx.Response(status, json={"error": {"message": "too long"}}))
    assert call(server) == Failure(f"HTTP {status}: too long", 1, permanent=True)
    assert call(Server(good()), failing(RefusedRowError)) == Failure("found [secret]", 1, permanent=True, content=True)


@pytest.mark.parametrize("status", [401, 404, 307])
def test_a_wrong_key_model_or_address_stops_everything(status: int) -> None:
    with pytest.raises(ModelError, match="correct base_url, model, or the environment variable") as caught:
        call(Server(httpx.Response(status, json={"error": {"message": f"no entry for {KEY}"}})))
    assert KEY not in str(caught.value)


def test_a_server_that_starts_is_waited_for_and_a_model_that_is_missing_is_not() -> None:
    starting = httpx.Response(404, json={"detail": "Not Found"})
    assert call(Server(starting, starting, good())) == "fine"
    unknown = Server(httpx.Response(404, json={"error": {"message": "The model `m` does not exist."}}))
    with pytest.raises(ModelError, match="correct base_url, model"):
        call(unknown)
    assert len(unknown.times) == 1


def ask_sixteen(server: Server, limits: CallLimits) -> list[Any]:
    """Ask sixteen rows at once, up to the first that fails: errors of those that ended, True for the others."""

    async def asked() -> list[Any]:
        async with httpx.AsyncClient(transport=httpx.MockTransport(server), base_url="http://x/v1") as client:
            caller = Caller(client, limits, Ledger(), make_redactor(KEY))
            rows = [asyncio.create_task(caller.ask(QUESTION, lambda reply: "fine")) for _ in range(16)]
            await asyncio.wait(rows, return_when=asyncio.FIRST_EXCEPTION)
            return [row.exception() for row in rows if row.done()] + [row.cancel() for row in rows if not row.done()]

    return asyncio.run(asked())


def test_a_wrong_path_is_told_after_a_while_by_one_row_that_asks_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(httpx.Response(404, json={"detail": "Not Found"}))
    limits = CallLimits(attempts=1000, backoff_s=0.01, longest_wait_s=0.01, concurrency=16)
    monkeypatch.setattr("prefboost.engines.openai.server_state._RELOAD_S", 0.1)
    assert "refuses: HTTP 404: Not Found" in str(ask_sixteen(server, limits)[0])
    assert 2 < len(server.times) <= 16 + 0.1 / 0.005 + 2


def calls(server: Server, rows: int, limits: CallLimits = QUICK) -> list[Any]:
    """What became of rows that one caller asks one after another."""

    async def asked() -> list[Any]:
        async with httpx.AsyncClient(transport=httpx.MockTransport(server), base_url="http://x/v1") as client:
            caller = Caller(client, limits, Ledger(), make_redactor(KEY))
            return [await caller.ask(QUESTION, lambda reply: "fine") for _ in range(rows)]

    return asyncio.run(asked())


NO_MONEY = [
    httpx.Response(402, json={"error": {"message": "Payment Required"}}),
    httpx.Response(400, json={"error": {"message": "Your credit balance is too low to access the API."}}),
    httpx.Response(429, json={"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}),
    httpx.Response(403, json={"error": {"message": "API key has expired"}}),
    httpx.Response(400, json={"error": {"message": "API key not valid. Please pass a valid API key."}}),
]


@pytest.mark.parametrize("refusal", NO_MONEY, ids=lambda each: each.text[:40])
def test_after_a_few_refusals_of_the_account_the_run_stops_and_says_so(refusal: httpx.Response) -> None:
    server = Server(good(), refusal)
    with pytest.raises(ModelError, match=r"refuses: HTTP 4.*3 rows in succession") as caught:
        calls(server, 10)
    assert len(server.times) == 4, "no call is made twice that money alone can mend"
    assert "answered rows are kept" in str(caught.value)


@pytest.mark.parametrize("refusal", NO_MONEY, ids=lambda each: each.text[:40])
def test_one_refusal_of_the_account_among_answers_is_its_rows_alone_and_is_asked_again_later(
    refusal: httpx.Response,
) -> None:
    found = calls(Server(good(), refusal, good(), refusal, good(), good(), refusal, refusal, good()), 9)
    failed = [row for row in found if isinstance(row, Failure)]
    assert [(row.attempts, row.permanent) for row in failed] == [(1, False)] * 4


PASSING = [
    httpx.Response(403, text="<html><head><title>Attention</title></head><body>You were <b>blocked</b></body></html>"),
    httpx.Response(404, json={"error": "model is loading"}),
    httpx.Response(424, json={"error": {"message": "Failed Dependency"}}),
    httpx.Response(502, text="<h1>Bad Gateway</h1>"),
]


@pytest.mark.parametrize("trouble", PASSING, ids=lambda each: str(each.status_code))
def test_what_passes_once_the_server_has_answered_is_waited_for(trouble: httpx.Response) -> None:
    assert calls(Server(good(), trouble, trouble, good()), 2) == ["fine", "fine"]
    found = calls(Server(good(), *[trouble] * 3, good()), 3)
    assert (found[1].attempts, found[1].permanent) == (3, False)
    assert "<" not in found[1].reason


@pytest.mark.parametrize("trouble", PASSING, ids=lambda each: str(each.status_code))
def test_row_after_row_in_trouble_stops_the_run(trouble: httpx.Response) -> None:
    server = Server(good(), trouble)
    with pytest.raises(ModelError, match=r"does not answer any more.*8 rows in succession"):
        calls(server, 30)
    assert len(server.times) == 1 + 8 * 3


def test_a_server_that_refuses_every_row_from_the_first_on_stops_the_run_and_one_that_has_answered_does_not() -> None:
    refusal = httpx.Response(400, json={"error": {"message": "unknown field top_p"}})
    server = Server(refusal)
    with pytest.raises(ModelError, match=r"unknown field top_p \(34 rows in succession") as caught:
        calls(server, 100, CallLimits(concurrency=1))
    assert len(server.times) == 34 and "leave_out" in str(caught.value)
    assert all(isinstance(row, Failure) for row in calls(Server(good(), refusal), 100, CallLimits(concurrency=1))[1:])


def test_refusals_of_contents_are_told_from_those_of_the_request() -> None:
    for status, error, content in (
        (400, {"message": "flagged", "code": "content_policy_violation"}, True),
        (400, {"message": "The response was filtered", "code": "content_filter"}, True),
        (403, {"message": "Your request was rejected by our safety system"}, True),
        (400, {"message": "unknown field top_logprobs"}, False),
        (400, {"message": "maximum context length is 4096 tokens", "code": "context_length_exceeded"}, False),
        (422, {"message": "temperature must be 1"}, False),
    ):
        [failure] = calls(Server(httpx.Response(status, json={"error": error})), 1)
        assert (failure.permanent, failure.content) == (True, content), error


def test_a_connection_that_cannot_be_made_in_time_names_its_own_time() -> None:
    with pytest.raises(ModelError, match=r"no connection in 10 s"):
        call(Server(httpx.ConnectTimeout("")))
    with pytest.raises(ModelError, match=r"no answer in 1800 s"):
        call(Server(httpx.ReadTimeout("")))


@pytest.mark.parametrize("status", [400, 503])
def test_a_refusal_without_a_word_is_no_empty_reason(status: int) -> None:
    for content in (b"", b"{}", b"  ", b"null"):
        found = call(Server(httpx.Response(status, content=content)))
        assert found.reason == f"HTTP {status}, and not a word of why"


def test_connections_that_always_break_end_after_a_bound() -> None:
    server = Server(httpx.ReadError(""))
    limits = CallLimits(attempts=6, backoff_s=0.001, concurrency=16)
    found = ask_sixteen(server, limits)
    assert "gave no answer in 6 attempts: the connection broke (ReadError)" in str(found[0])
    assert len(server.times) <= 16 + 6, "once nobody replies, one row asks for all"


def test_rows_whose_calls_break_among_others_say_nothing_of_the_server() -> None:
    once = CallLimits(attempts=1, concurrency=16)
    broken = [httpx.ReadError("cut")] * 3
    found = calls(Server(good(), *broken, httpx.Response(500), *broken, good()), 9, once)
    assert [isinstance(row, Failure) for row in found] == [False, *[True] * 7, False]


def test_a_server_that_is_back_in_time_is_asked_by_all_again() -> None:
    server = Server(*[httpx.ReadError("cut")] * 19, good())
    limits = CallLimits(attempts=6, backoff_s=0.001, concurrency=16)

    async def asked() -> list[Any]:
        async with httpx.AsyncClient(transport=httpx.MockTransport(server), base_url="http://x/v1") as client:
            caller = Caller(client, limits, Ledger(), make_redactor(KEY))
            return await asyncio.gather(*(caller.ask(QUESTION, lambda reply: "fine") for _ in range(16)))

    assert asyncio.run(asked()) == ["fine"] * 16


def test_a_server_that_bills_beyond_its_limits_does_not_carry_the_budget_away() -> None:
    bill = {"choices": [1], "usage": {"prompt_tokens": 500, "completion_tokens": 800}}
    server = Server(httpx.Response(200, json=bill))
    ledger = Ledger(Budget(tokens=10_000))

    async def asked() -> None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(server), base_url="http://x/v1") as client:
            caller = Caller(client, CallLimits(concurrency=32), ledger, make_redactor(KEY))
            rows = [caller.ask(QUESTION, lambda reply: "fine") for _ in range(32)]
            await asyncio.gather(*rows, return_exceptions=True)

    asyncio.run(asked())
    assert len(server.times) == 6, "the first bill shows what the others may cost"
    assert ledger.spent.prompt_tokens + ledger.spent.tokens == 7_800


def test_bills_that_grow_up_to_twice_as_far_beyond_the_limits_stay_within_the_budget() -> None:
    draw = random.Random(3)
    for _ in range(20):
        bills = [(40 + draw.randint(50, 100), 60 + draw.randint(100, 200)) for _ in range(200)]
        replies = [
            httpx.Response(200, json={"choices": [1], "usage": {"prompt_tokens": read, "completion_tokens": written}})
            for read, written in bills
        ]
        ledger = Ledger(Budget(tokens=10_000))

        async def asked(server: Server, ledger: Ledger) -> None:
            async with httpx.AsyncClient(transport=httpx.MockTransport(server), base_url="http://x/v1") as client:
                caller = Caller(client, CallLimits(concurrency=64), ledger, make_redactor(KEY))
                rows = [caller.ask(QUESTION, lambda reply: "fine") for _ in range(64)]
                await asyncio.gather(*rows, return_exceptions=True)

        asyncio.run(asked(Server(*replies), ledger))
        assert 8_000 < ledger.spent.prompt_tokens + ledger.spent.tokens <= 10_000


def test_a_server_that_never_answers_stops_everything() -> None:
    with pytest.raises(ModelError, match="gave no answer in 3 attempts: cannot connect"):
        call(Server(httpx.ConnectError("refused")))


def test_one_reply_without_log_probs_is_its_rows_fault_and_costs_one_call() -> None:
    server = Server(good())
    assert call(server, failing(Unavailable)) == Failure("found [secret]", 1, unavailable=True)
    assert len(server.times) == 1


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
    limits = CallLimits(requests_per_minute=600.0, attempts=60, backoff_s=1e-6, longest_wait_s=1e-3)
    server = Server(*[httpx.Response(500)] * 54, good())
    call(server, limits=limits)
    assert server.times[-1] - server.times[0] > 0.3, "ten a second after a burst of five seconds' worth"


def test_secrets_are_taken_out_of_a_text() -> None:
    assert make_redactor(KEY)(f"a {KEY} b Bearer abcdefghijkl c") == "a [secret] b Bearer [secret] c"
    assert len(make_redactor(None)("x" * 1000)) == 300
