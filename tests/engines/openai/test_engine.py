"""The engine for servers, against a server on loopback that breaks calls in every way it can."""

from __future__ import annotations

import json
import math
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from faulty_server import FAULTS, FaultyServer, answer_to
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from waiting import PATIENCE_S

from prefboost.engines.budget import Budget, Ledger, Price
from prefboost.engines.engine import Failure, Request, Result, Sampling, row_seed
from prefboost.engines.openai.engine import OpenAICompatible, OpenAICompatibleEngine
from prefboost.engines.store.reuse import generate_stored, logprobs_stored, query_completion, query_logprobs
from prefboost.engines.store.store import Store
from prefboost.errors import ModelError, RunError, SettingsError

SAMPLING = Sampling(max_tokens=50)
KEY = "sk-test-0123456789abcdef"


@pytest.fixture(autouse=True)
def _threads_take_turns_quickly() -> Iterator[None]:
    """The server runs in a thread of this process."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(2e-4)
    yield
    sys.setswitchinterval(before)


def open_at(server: FaultyServer, **changes: Any) -> OpenAICompatibleEngine:
    quick: dict[str, Any] = {"concurrency": 16, "timeout_s": PATIENCE_S, "backoff_s": 0.005}
    return OpenAICompatible(model="m", base_url=server.base_url, **(quick | changes)).open()


def request(text: str, sample: int = 0, **more: Any) -> Request:
    return Request([{"role": "user", "content": text, "extra": None}], sample, **more)


def right(engine: OpenAICompatibleEngine, asked: Request, place: int = 0, sample: int | None = None) -> str:
    seed = row_seed(SAMPLING, engine.render(asked), asked.sample if sample is None else sample) % 2**31
    return answer_to(str(asked.prompt[-1]["content"]), seed, place)


def test_rows_come_back_right_with_their_tokens() -> None:
    asked = [request(f"p{number}", sample) for number in range(20) for sample in range(2)]
    with FaultyServer() as server:
        engine = open_at(server)
        found = dict(engine.generate(iter(asked), SAMPLING))
    for index, each in enumerate(asked):
        text = right(engine, each)
        assert found[index] == Result(text, "stop", len(each.prompt[-1]["content"]), len(text))
    body = server.bodies[0]
    assert (body["temperature"], body["top_p"], body["max_tokens"], body["model"]) == (0.8, 0.95, 50, "m")
    assert "n" not in body
    assert server.most_at_once <= 16
    assert engine.ledger.spent.requests == server.calls == 40


def test_two_thousand_rows_at_high_fault_rates_are_right_or_recorded_and_every_call_is_counted(tmp_path: Path) -> None:
    rates = dict.fromkeys(FAULTS, 0.06) | {"slow": 0.002, "too_many": 0.0}
    refused = frozenset({"p7", "p300"})
    asked = [request(f"p{number}", sample) for number in range(500) for sample in range(4)]
    with FaultyServer(rates=rates, refused=refused, attempts=4) as server, Store(tmp_path / "s") as store:
        engine = open_at(server, attempts=4)
        engine.ledger = Ledger(book=store.book())
        rows = [pair for done in generate_stored(engine, asked, SAMPLING, store) for pair in done.results]
        kept = list(store.rows())
    assert sorted(index for index, _ in rows) == list(range(2000)), "none lost, none twice"
    assert len(kept) == 2000
    failures = [(index, outcome) for index, outcome in rows if isinstance(outcome, Failure)]
    for index, outcome in rows:
        if isinstance(outcome, Result):
            assert outcome.text == right(engine, asked[index])
    assert {index for index, failure in failures if failure.permanent} == {*range(28, 32), *range(1200, 1204)}
    assert all(failure.attempts == 4 for _, failure in failures if not failure.permanent)
    assert 0 < len(failures) < 200
    assert server.calls == engine.ledger.spent.requests == store_total(tmp_path).requests
    assert server.faults.total() > 800 and server.faults["slow"] > 0 and server.lost == 0
    assert max(server.answered.values()) == 1, "no row is asked again once it is answered"


def store_total(tmp_path: Path) -> Any:
    with Store(tmp_path / "s") as store:
        return store.book().total()


def test_samples_are_asked_for_together_and_one_by_one_where_the_server_gives_another_number() -> None:
    asked = [request(text, sample) for text in "ab" for sample in range(3)]
    with FaultyServer() as server:
        engine = open_at(server, choices=8)
        found = dict(engine.generate(asked, SAMPLING))
        assert [found[index].text for index in range(3)] == [right(engine, asked[0], place) for place in range(3)]  # type: ignore[union-attr]
        assert server.calls == 2
        assert [body["n"] for body in server.bodies] == [3, 3]
    with FaultyServer(one_choice=True) as server:
        engine = open_at(server, choices=8)
        found = dict(engine.generate(asked, SAMPLING))
        assert [found[index].text for index in range(6)] == [right(engine, each) for each in asked]  # type: ignore[union-attr]
        assert server.calls == 6
    with FaultyServer(rates={"too_many": 1e-9}) as server:
        engine = open_at(server)
        assert sorted(engine.generate(asked, SAMPLING))[0][1].text == right(engine, asked[0])  # type: ignore[union-attr]


def test_a_budget_is_never_exceeded_and_what_it_paid_for_is_kept() -> None:
    asked = [request(f"p{number:03}") for number in range(200)]
    with FaultyServer(delay_s=0.002) as server:
        engine = open_at(server)
        engine.ledger = Ledger(Budget(requests=50))
        assert len(list(engine.generate(asked, SAMPLING))) == server.calls == 50
        assert engine.ledger.exhausted
        engine.ledger = Ledger(Budget(dollars=0.01), Price(prompt=10, completion=10))
        done = list(engine.generate(asked, SAMPLING))
        spent = engine.ledger.spent
        assert 0 < len(done) < 200
        assert 0.007 < spent.dollars <= 0.01
        assert spent.dollars == pytest.approx(sum(r.prompt_tokens + r.tokens for _, r in done) * 1e-5)  # type: ignore[union-attr]


def test_keys_come_from_the_environment_and_appear_nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MY_SERVER", KEY)
    with FaultyServer(key=KEY, refused=frozenset({KEY})) as server, Store(tmp_path / "s") as store:
        engine = open_at(server, api_key_env="MY_SERVER")
        list(generate_stored(engine, [request("p"), request("q")], SAMPLING, store))
        assert server.headers[0]["authorization"] == f"Bearer {KEY}"
        assert KEY not in repr(engine.settings) + engine.settings.model_dump_json() + engine.identity
        monkeypatch.setenv("MY_SERVER", KEY + "-wrong")
        with pytest.raises(ModelError, match="HTTP 401") as caught:
            list(open_at(server, api_key_env="MY_SERVER").generate([request("p")], SAMPLING))
        assert KEY not in str(caught.value)
    stored = b"".join(file.read_bytes() for file in (tmp_path / "s").iterdir() if file.is_file())
    assert b"MY_SERVER" not in stored
    assert KEY.encode() not in stored
    monkeypatch.delenv("MY_SERVER")
    with pytest.raises(SettingsError, match="the environment variable MY_SERVER for the server's key is not set"):
        OpenAICompatible(model="m", api_key_env="MY_SERVER").open()


@pytest.mark.parametrize("address", ["localhost:8000", "http://me:secret@host/v1", "http://h/v1?api_key=abcdefghij"])
def test_addresses_that_are_none_or_hold_keys_are_refused(address: str) -> None:
    with pytest.raises(ValidationError):
        OpenAICompatible(model="m", base_url=address)


def test_a_server_that_is_not_there_is_one_message() -> None:
    with socket.socket() as silent:  # bound, so that nothing else has the port, and not listening
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        address = f"http://127.0.0.1:{port}/v1"
        engine = OpenAICompatible(model="m", base_url=address, attempts=2, backoff_s=0.001).open()
        with pytest.raises(ModelError, match=rf"127\.0\.0\.1:{port}.*gave no answer in 2 attempts"):
            list(engine.generate([request("p")], SAMPLING))


def test_a_reply_that_does_not_come_in_time_is_given_up_and_the_row_asked_again() -> None:
    asked = [request(f"p{number}") for number in range(8)]
    with FaultyServer(script=lambda body, call: "hang" if call <= 4 else None) as server:
        engine = open_at(server, timeout_s=0.5, attempts=1000)
        found = dict(engine.generate(asked, SAMPLING))
    assert {index: outcome.text for index, outcome in found.items()} == {  # type: ignore[union-attr]
        index: right(engine, each) for index, each in enumerate(asked)
    }
    # on a busy machine calls may time out that the server was about to answer, or never got
    assert engine.ledger.spent.requests >= len(asked) + 4
    assert len(asked) + 4 <= server.calls <= engine.ledger.spent.requests


def test_fields_can_be_left_out_renamed_and_added() -> None:
    with FaultyServer(fields_refused=("seed", "max_tokens")) as server:
        changes = {"leave_out": ("seed",), "max_tokens_field": "max_completion_tokens", "extra": {"user": "me"}}
        [(_, result)] = open_at(server, **changes).generate([request("p")], SAMPLING)
        assert isinstance(result, Result)
        assert (server.bodies[0]["max_completion_tokens"], server.bodies[0]["user"]) == (50, "me")
        [(_, failure)] = open_at(server).generate([request("p")], SAMPLING)
        assert failure == Failure("HTTP 400: unknown field seed", 1, permanent=True)


def test_a_schema_is_asked_for_where_the_server_knows_schemas() -> None:
    asked = [request(f"p{number}", json_schema='{"type": "object"}') for number in range(3)]
    with FaultyServer() as server:
        list(open_at(server).generate(asked, SAMPLING))
        assert server.bodies[0]["response_format"]["json_schema"]["schema"] == {"type": "object"}
    with FaultyServer(fields_refused=("response_format",)) as server:
        engine = open_at(server, concurrency=1)
        assert all(isinstance(result, Result) for _, result in engine.generate(asked, SAMPLING))
        assert ["response_format" in body for body in server.bodies] == [True, False, False, False]


OTHER_WORDS = [
    "Structured outputs are not supported by this model",
    "Extra inputs are not permitted",
    "guided decoding backend is not installed",
    "this deployment cannot do that",
]


@pytest.mark.parametrize("words", OTHER_WORDS)
def test_a_schema_is_left_out_whatever_words_the_server_refuses_it_in(words: str) -> None:
    def refuse(body: dict[str, Any], call: int) -> Any:
        return (400, {"error": {"message": words}}) if "response_format" in body else None

    asked = [request(f"p{number}", json_schema='{"type": "object"}') for number in range(4)]
    with FaultyServer(script=refuse) as server:
        found = dict(open_at(server, concurrency=1).generate(asked, SAMPLING))
    assert all(isinstance(result, Result) for result in found.values())
    assert server.calls == 5, "it is tried once"


def test_a_row_that_is_refused_with_a_schema_and_without_says_nothing_of_schemas() -> None:
    asked = [request(text, json_schema='{"type": "object"}') for text in ("p0", "p1", "p2")]
    with FaultyServer(refused=frozenset({"p0"})) as server:
        found = dict(open_at(server, concurrency=1).generate(asked, SAMPLING))
    assert [isinstance(found[at], Result) for at in range(3)] == [False, True, True]
    assert "response_format" in server.bodies[-1]


SETTINGS: list[dict[str, Any]] = [
    {}, {"extra": {"reasoning_effort": "low"}}, {"extra": {"reasoning_effort": "high"}}, {"leave_out": ("seed",)},
    {"leave_out": ("top_p",)}, {"max_tokens_field": "max_completion_tokens"}, {"extra": {"temperature": 0.1}},
    {"choices": 2}, {"model": "m2"}, {"revision": "r"}, {"extra": {"chat_template_kwargs": {"enable_thinking": False}}},
]  # fmt: skip


def test_every_setting_that_changes_the_body_changes_the_key_of_completions_and_of_log_probs() -> None:
    address = {"base_url": "http://h/v1", "model": "m"}
    engines = [OpenAICompatible(**(address | changes)).open() for changes in SETTINGS]
    assert len({query_completion(engine, request("p"), SAMPLING).key for engine in engines}) == len(SETTINGS)
    with_logprobs = [query_logprobs(engine, request("p"), ["A", "B"]) for engine in engines]
    bodies = [json.dumps(dict(each.parts), sort_keys=True) for each in with_logprobs]
    assert len({each.key for each in with_logprobs}) == len(set(bodies)) == len(SETTINGS) - 2, "seed and n play no part"


@given(
    st.dictionaries(st.sampled_from(["user", "top_k", "seed", "reasoning_effort", "x"]), st.integers(0, 2)),
    st.sets(st.sampled_from(["seed", "top_p", "temperature"])),
    st.sampled_from(["max_tokens", "max_completion_tokens"]),
)
def test_two_questions_have_one_key_exactly_where_their_bodies_are_one(
    extra: dict[str, int], leave_out: set[str], field: str
) -> None:
    def engine(**changes: Any) -> OpenAICompatibleEngine:
        return OpenAICompatible(model="m", base_url="http://h/v1", **changes).open()

    plain = engine()
    other = engine(extra=extra, leave_out=tuple(sorted(leave_out)), max_tokens_field=field)
    bodies = [one.generation_body(request("p"), SAMPLING) for one in (plain, other)]
    keys = [query_completion(one, request("p"), SAMPLING).key for one in (plain, other)]
    assert (keys[0] == keys[1]) == (bodies[0] == bodies[1])


def test_the_body_in_the_key_is_the_body_that_is_sent() -> None:
    asked = [request("p"), request("p", 1), request("q", json_schema='{"type": "object"}')]
    with FaultyServer() as server:
        engine = open_at(server, extra={"user": "me"}, leave_out=("top_p",), concurrency=1)
        list(engine.generate(asked, SAMPLING))
        list(engine.logprobs_of(asked[:1], ["A", "B"]))
        keyed = [engine.generation_body(each, SAMPLING) for each in asked] + [engine.choices_body(asked[0])]
    assert server.bodies == keyed


def test_samples_without_a_seed_are_different_rows() -> None:
    engine = OpenAICompatible(model="m", leave_out=("seed",)).open()
    assert (
        query_completion(engine, request("p"), SAMPLING).key != query_completion(engine, request("p", 1), SAMPLING).key
    )


def test_a_setting_that_cures_a_refusal_is_asked_with(tmp_path: Path) -> None:
    asked = [request(f"p{number}") for number in range(8)]

    def rows(server: FaultyServer, **changes: Any) -> list[Any]:
        with Store(tmp_path / "s") as store:
            return [
                o for done in generate_stored(open_at(server, **changes), asked, SAMPLING, store) for o in done.results
            ]

    with FaultyServer(fields_refused=("max_tokens",)) as server:
        assert all(isinstance(outcome, Failure) for _, outcome in rows(server))
        again = rows(server, max_tokens_field="max_completion_tokens")
        assert all(isinstance(outcome, Result) for _, outcome in again)
        assert server.calls == 16
    with FaultyServer() as server:
        assert all(isinstance(outcome, Result) for _, outcome in rows(server)), "another version of the server takes it"
        assert server.calls == 8


def test_where_an_answer_cannot_be_kept_calls_end_before_the_error_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    unraisable: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)

    def refuse(reason: str) -> None:
        raise RunError(reason, remedy="free some space")

    with FaultyServer() as server, Store(tmp_path / "store") as store:
        engine = open_at(server)
        monkeypatch.setattr(store, "finish", lambda rows: refuse("the answer cannot be kept"))
        monkeypatch.setattr(engine.ledger, "close", lambda: refuse("the book cannot be written"))
        with pytest.raises(RunError, match="the answer cannot be kept"):
            list(generate_stored(engine, [request(f"p{row}") for row in range(40)], SAMPLING, store))
    assert not unraisable
    assert "prefboost-calls" not in [thread.name for thread in threading.enumerate()]


def test_connections_that_always_reset_stop_after_a_bound(tmp_path: Path) -> None:
    asked = [request(f"p{number}") for number in range(60)]
    with FaultyServer(script=lambda body, call: "reset") as server, Store(tmp_path / "s") as store:
        engine = open_at(server, backoff_s=0.01)
        with pytest.raises(ModelError, match="gave no answer in 6 attempts: the connection broke"):
            list(generate_stored(engine, asked, SAMPLING, store))
        assert server.calls <= 16 + 15 + 6, "16 resets show it, 15 more calls may be out, and one row makes 6"
        assert list(store.rows()) == [], "nothing is held against the rows"


def test_a_server_that_dies_in_mid_run_stops_it_and_the_rest_is_asked_when_it_is_back(tmp_path: Path) -> None:
    asked = [request(f"p{number}") for number in range(60)]
    with FaultyServer(script=lambda body, call: "reset" if call > 20 else None) as server:
        with Store(tmp_path / "s") as store, pytest.raises(ModelError, match="is gone: the connection broke"):
            list(generate_stored(open_at(server, backoff_s=0.005), asked, SAMPLING, store))
        # replies that come after the first reset may begin the count of resets anew
        assert server.calls <= 20 + 3 * 16 + 3 * 6, "of 116 if all 16 rows went on asking"
        server.script = None
        with Store(tmp_path / "s") as store:
            found = [p for done in generate_stored(open_at(server), asked, SAMPLING, store) for p in done.results]
    assert [index for index, outcome in sorted(found) if isinstance(outcome, Result)] == list(range(60))


def test_an_account_without_money_stops_the_run_and_no_row_is_lost(tmp_path: Path) -> None:
    broke = (400, {"error": {"type": "invalid_request_error", "message": "Your credit balance is too low"}})
    asked = [request(f"p{number}") for number in range(30)]
    with FaultyServer(script=lambda body, call: broke if call > 10 else None) as server:
        with (
            Store(tmp_path / "s") as store,
            pytest.raises(ModelError, match=r"(?s)credit balance is too low.*correct the account"),
        ):
            list(generate_stored(open_at(server, concurrency=4), asked, SAMPLING, store))
        assert server.calls <= 10 + 3 + 2 * 4, "of 30: refusals are counted anew where a good reply comes after one"
        server.script = None
        with Store(tmp_path / "s") as store:
            found = [p for done in generate_stored(open_at(server), asked, SAMPLING, store) for p in done.results]
    assert [index for index, outcome in sorted(found) if isinstance(outcome, Result)] == list(range(30))


def test_two_rows_are_enough_to_say_that_the_account_is_refused() -> None:
    told = r"HTTP 402: no credits \(2 rows in succession"
    with (
        FaultyServer(script=lambda body, call: (402, {"error": "no credits"})) as server,
        pytest.raises(ModelError, match=told),
    ):
        list(open_at(server).generate([request("p"), request("q")], SAMPLING))


def test_a_budget_is_kept_where_a_server_bills_more_than_max_tokens() -> None:
    asked = [request(f"p{number}") for number in range(100)]
    with FaultyServer(bills=lambda read, written: (read, 600)) as server:
        engine = open_at(server)
        engine.ledger = Ledger(Budget(tokens=10_000))
        done = list(engine.generate(asked, SAMPLING))
    assert server.billed <= 10_000
    assert len(done) == 15, "room is left for a bill that goes beyond the limits twice as far"


def test_log_probs_of_choices_are_read_and_those_that_are_no_numbers_asked_again() -> None:
    with FaultyServer(rates={"nan": 0.4, "500": 0.2}) as server:
        engine = open_at(server, attempts=30)
        found = dict(engine.logprobs_of([request(f"p{number}") for number in range(30)], ["A", "B", "C"]))
    assert list(found.values()) == [pytest.approx((math.log(2) - 1.5, -0.5, -math.inf))] * 30
    assert server.faults["nan"] > 3
    assert (server.bodies[0]["max_tokens"], server.bodies[0]["top_logprobs"]) == (1, 20)


def test_log_probs_of_completions_are_refused_with_a_reason_where_the_server_has_none() -> None:
    completion = [{"role": "assistant", "content": "x", "extra": None}]
    with FaultyServer() as server, pytest.raises(ModelError, match="no log-probs of prompts"):
        open_at(server).logprob_of([request("p")], [completion])
    with FaultyServer(refused=frozenset({"p"})) as server, pytest.raises(RunError, match="1 of 1 log-probs"):
        open_at(server).logprob_of([request("p")], [completion])


def test_log_probs_of_completions_through_chat(monkeypatch: pytest.MonkeyPatch) -> None:
    def good(self: FaultyServer, path: str, body: dict[str, Any], prompt: str) -> dict[str, Any]:
        entry = {"3": {"logprob": -1.5, "rank": 1, "decoded_token": "x"}}
        length = 4 * len(body["messages"])
        logprobs = {"prompt_logprobs": [None] + [entry] * (length - 1)} if "prompt_logprobs" in body else {}
        return {"choices": [{}], "usage": {"prompt_tokens": length, "completion_tokens": 1}, **logprobs}

    monkeypatch.setattr(FaultyServer, "_good", good)
    completion = [{"role": "assistant", "content": "x", "extra": None}]
    with FaultyServer(rates={"500": 0.3}) as server:
        found = open_at(server, attempts=20).logprob_of([request("p"), request("q")], [completion] * 2)
    assert found == [-6.0, -6.0]
    assert {body.get("add_generation_prompt") for body in server.bodies} == {None, False}


def in_parts(reply: dict[str, Any], prompt: str) -> dict[str, Any]:
    """As a server says it that sends parts, thoughts among them, and another word for the end."""
    choice = reply["choices"][0]
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": f"draft of {prompt}"}]}
    parts = [thought, {"type": "text", "text": choice["message"]["content"]}]
    return reply | {"choices": [{"message": {"content": parts}, "finish_reason": "COMPLETE"}]}


def in_fields(reply: dict[str, Any], prompt: str) -> dict[str, Any]:
    message = {"content": reply["choices"][0]["message"]["content"], "reasoning_content": f"draft of {prompt}"}
    return {"choices": [{"message": message}], "error": {}}


def in_marks(reply: dict[str, Any], prompt: str) -> dict[str, Any]:
    text = f"<think>\ndraft of {prompt}\n</think>\n\n{reply['choices'][0]['message']['content']}"
    return reply | {"choices": [{"text": None, "message": {"content": text}, "finish_reason": None}]}


@pytest.mark.parametrize("dialect", [in_parts, in_fields, in_marks])
def test_good_replies_in_other_dialects_are_read_at_the_first_attempt(dialect: Any) -> None:
    asked = [request(f"p{number}") for number in range(8)]
    with FaultyServer(dialect=dialect) as server:
        engine = open_at(server)
        found = dict(engine.generate(asked, SAMPLING))
    assert server.calls == 8, "nothing is paid twice"
    for index, each in enumerate(asked):
        result = found[index]
        assert isinstance(result, Result) and result.finish_reason == "stop"
        assert result.text == right(engine, each) and result.reasoning == f"draft of p{index}"


def test_no_content_beside_a_good_end_is_an_empty_completion_and_paid_once() -> None:
    silent = {"choices": [{"message": {"role": "assistant", "content": None}, "finish_reason": "stop"}]}
    with FaultyServer(dialect=lambda reply, prompt: silent) as server:
        [(_, result)] = open_at(server).generate([request("p")], SAMPLING)
    assert isinstance(result, Result) and (result.text, result.finish_reason) == ("", "stop")
    assert server.calls == 1 and not result.only_thinks


def test_a_row_without_log_probs_stops_no_other_and_a_later_run_asks_it_again(tmp_path: Path) -> None:
    def lacking(reply: dict[str, Any], prompt: str) -> dict[str, Any]:
        return reply | {"choices": [{**reply["choices"][0], "logprobs": None}]} if prompt in ("p3", "p7") else reply

    asked = [request(f"p{number}") for number in range(12)]
    with FaultyServer(dialect=lacking) as server, Store(tmp_path / "store") as store:
        rows = [row for done in logprobs_stored(open_at(server), asked, ["A", "B"], store) for row in done.results]
        found = dict(rows)
        assert server.calls == 12
        assert [index for index in range(12) if isinstance(found[index], Failure)] == [3, 7]
        assert "no log-probs" in found[3].reason and not found[3].permanent
    with Store(tmp_path / "store") as store:
        known = store.find_answers([query_logprobs(open_at(server), each, ["A", "B"]).key for each in asked])
    assert len(known) == 10, "the two others are open"


def test_a_server_without_log_probs_stops_the_run_after_a_few_rows() -> None:
    bare = lambda reply, prompt: reply | {"choices": [{**reply["choices"][0], "logprobs": None}]}  # noqa: E731
    with FaultyServer(dialect=bare) as server, pytest.raises(ModelError, match="use a server that returns them"):
        list(open_at(server, concurrency=1).logprobs_of([request(f"p{number}") for number in range(50)], ["A"]))
    assert server.calls == 3


def test_log_probs_of_tokens_that_are_no_choice_may_be_anything() -> None:
    def odd(reply: dict[str, Any], prompt: str) -> dict[str, Any]:
        top = [{"token": "Ġ1", "logprob": -0.25}, {"token": "▁2", "logprob": -1.75},
               {"token": "<unk>", "logprob": None}, {"token": "x", "logprob": float("nan")}]  # fmt: skip
        return reply | {"choices": [{"message": {"content": "1"}, "logprobs": {"content": [{"top_logprobs": top}]}}]}

    with FaultyServer(dialect=odd) as server:
        assert dict(open_at(server).logprobs_of([request("p")], ["1", "2", "tie"])) == {0: (-0.25, -1.75, -math.inf)}
    assert server.calls == 1


def test_goals_travel_in_the_prompt() -> None:
    with FaultyServer() as server:
        engine = open_at(server)
    assert not engine.says_goals
    assert json.loads(engine.render(request("p"))) == [{"role": "user", "content": "p"}]
    assert engine.prompt_tokens([request("abcdefgh")]) == [6]
    assert engine.plan([request("a"), request("a", 1), request("b")], SAMPLING) == [[0], [1], [2]]
    assert open_at(server, choices=2).plan([request("a", at) for at in range(3)], SAMPLING) == [[0, 1], [2]]


def test_completions_need_a_template() -> None:
    with pytest.raises(SettingsError, match="name the model's folder or hub id in tokenizer"):
        OpenAICompatible(model="m", api="completions").open()


@pytest.mark.torch
def test_prompts_for_completions_go_through_the_tokenizers_template(folder: Path) -> None:
    with FaultyServer() as server:
        engine = open_at(server, api="completions", tokenizer=str(folder))
        [(_, result)] = engine.generate([request("p")], SAMPLING)
    rendered = "<|im_start|>user\np<|im_end|>\n<|im_start|>assistant\n"
    assert server.bodies[0]["prompt"] == engine.render(request("p")) == rendered
    assert isinstance(result, Result)
    assert result.text.startswith(rendered[::-1])
