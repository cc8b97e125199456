"""What calls have shown of a server: one row alone never condemns it, several in succession do."""

from __future__ import annotations

import httpx
import pytest

from prefboost.engines.engine import Failure
from prefboost.engines.openai.attempt_errors import AttemptError
from prefboost.engines.openai.pacing import CallLimits
from prefboost.engines.openai.replies import Unavailable
from prefboost.engines.openai.server_state import ServerState
from prefboost.errors import ModelError

LOGPROBS = frozenset({"logprobs"})


def state(**limits: float) -> ServerState:
    return ServerState("http://x/v1", CallLimits(**{"attempts": 2, "concurrency": 4, **limits}), lambda text: text)  # type: ignore[arg-type]


def test_a_server_is_silent_after_as_many_calls_without_a_reply_as_chance_does_not_give_and_any_reply_ends_it() -> None:
    server = state()
    for _ in range(8):
        assert not server.is_silent()
        server.note_silence("cannot connect")
    assert server.is_silent()
    server.interpret_refusal(httpx.Response(503))
    assert not server.is_silent() and server.replied


def test_a_last_attempt_fails_its_row_and_an_earlier_one_waits_as_long_as_the_server_asks() -> None:
    server = state()
    server.note_good_reply()
    wait = server.conclude(AttemptError("busy", wait_s=2.0, status=429), 1)
    assert isinstance(wait, float) and 2.0 <= wait <= 2.1 and server.paused_until > 0
    assert server.conclude(AttemptError("busy"), 2) == Failure("busy", 2)
    (too_long,) = [server.conclude(AttemptError("busy", wait_s=999.0), 1)]
    assert isinstance(too_long, Failure) and "asks to wait 999 s" in too_long.reason


def test_an_answer_in_between_is_evidence_for_the_server() -> None:
    server = state()
    server.note_good_reply()
    for _ in range(7):
        server.conclude(AttemptError("500"), 2)
    server.note_answer(frozenset())
    assert [server.conclude(AttemptError("500"), 2) for _ in range(7)] == [Failure("500", 2)] * 7
    with pytest.raises(ModelError, match=r"does not answer any more: 500 \(8 rows in succession"):
        server.conclude(AttemptError("500"), 2)


def test_replies_without_log_probs_condemn_a_server_that_never_gave_any() -> None:
    server, generous = state(), state()
    generous.note_answer(LOGPROBS)
    for judged in (server, generous):
        assert [type(judged.judge_missing_logprobs(LOGPROBS, Unavailable("none"))) for _ in range(2)] == [
            AttemptError
        ] * 2
    assert isinstance(server.judge_missing_logprobs(LOGPROBS, Unavailable("none")), ModelError)
    assert isinstance(generous.judge_missing_logprobs(LOGPROBS, Unavailable("none")), AttemptError)


def test_a_wrong_path_stops_the_run_before_the_first_good_reply_and_is_waited_out_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("prefboost.engines.openai.server_state._RELOAD_S", 0.0)
    server = state()
    with pytest.raises(ModelError, match="refuses: HTTP 404"):
        server.interpret_refusal(httpx.Response(404, json={"detail": "Not Found"}))
    server.note_good_reply()
    assert server.interpret_refusal(httpx.Response(404)).kind == "address"


def test_few_rows_that_all_met_a_refusal_of_the_account_are_an_error_in_the_end() -> None:
    server = state()
    server.note_good_reply()
    server.conclude(AttemptError("no credits", "account"), 1)
    with pytest.raises(ModelError, match="no credits"):
        server.check_account()
    server.note_answer(frozenset())
    server.check_account()
