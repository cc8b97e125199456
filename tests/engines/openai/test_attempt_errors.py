"""What a bad reply means: for whom, and for how long."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.engines.openai.attempt_errors import Evidence, classify_reply_error, message_of, trouble_inside


def kind(status: int, body: Any) -> str:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return classify_reply_error(status, {}, content, str).kind


REPLIES: list[tuple[int, Any, str]] = [
    (401, {"error": "no"}, "account"),
    (402, b"", "account"),
    (400, {"error": {"message": "Your credit balance is too low to access the Anthropic API."}}, "account"),
    (400, {"error": {"message": "You have reached your specified API usage limits."}}, "account"),
    (400, {"error": {"status": "INVALID_ARGUMENT", "message": "API key not valid. Pass one."}}, "account"),
    (403, {"error": {"status": "PERMISSION_DENIED", "message": "Permission denied on resource"}}, "account"),
    (403, {"error": {"message": "This organization's account has been deactivated"}}, "account"),
    (429, {"error": {"code": "insufficient_quota", "message": "You exceeded your current quota"}}, "account"),
    (429, {"error": {"status": "RESOURCE_EXHAUSTED", "message": "check your plan and billing details"}}, "passing"),
    (403, b"<!DOCTYPE html><html><body>Sorry, you have been blocked. Authentication</body></html>", "passing"),
    (403, {"message": "Forbidden"}, "passing"),
    (404, {"error": "model 'm' not found"}, "address"),
    (405, {"detail": "Method Not Allowed"}, "address"),
    (307, b"", "address"),
    (424, {"error": {"message": "Failed dependency"}}, "passing"),
    (429, {"error": "slow down"}, "passing"),
    (529, {"error": {"type": "overloaded_error", "message": "Overloaded"}}, "passing"),
    (500, b"<html>billing</html>", "passing"),
    (400, {"error": {"message": "unsupported parameter: max_tokens"}}, "refused"),
    (400, {"error": {"message": "maximum context length is 4096 tokens, a hard limit"}}, "refused"),
    (400, {"error": {"message": "thinking budget limit is 100 tokens"}}, "refused"),
    (422, {"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]}, "refused"),
    (400, b"bad", "refused"),
    (400, {"error": {"code": "content_filter", "message": "the content management policy"}}, "content"),
    (400, {"error": {"message": "This request violates our usage policies"}}, "content"),
    (451, {"error": "legal reasons"}, "content"),
    (400, {"error": {"message": "Input may be inappropriate", "code": "data_inspection_failed"}}, "content"),
    (400, {"error": {"message": "prompt blocked", "code": "PROHIBITED_CONTENT"}}, "content"),
    (400, {"error": {"message": "This organization has been disabled."}}, "account"),
    (400, {"error": {"message": "User location is not supported for the API use."}}, "account"),
    (400, {"error": {"code": "Arrearage", "message": "Access denied"}}, "account"),
    (403, {"error": {"message": "Key limit exceeded (monthly limit)"}}, "account"),
    (403, {"message": "You are not subscribed to this API."}, "account"),
    (498, {"error": "token expired"}, "account"),
    (400, {"error": {"message": "The model `m` does not exist", "code": "model_not_found"}}, "address"),
    (400, {"error": {"message": "m is not a valid model ID"}}, "address"),
    (400, {"error": {"message": "Invalid model name passed in model=m"}}, "address"),
    (400, {"error": {"message": "Server is loading the model, please retry"}}, "passing"),
    (400, {"error": {"message": "Engine overloaded, try again later"}}, "passing"),
    (400, b"upstream connect error or disconnect/reset before headers", "passing"),
    (499, {"error": "the request timed out"}, "passing"),
    (400, {"error": {"message": "Unsupported value: temperature is not supported with this model"}}, "refused"),
    (400, {"error": {"message": "the image could not be found in the request for this model"}}, "refused"),
    (413, {"error": {"message": "too long for the model, try again with fewer tokens"}}, "refused"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "meant"), REPLIES)
def test_replies_are_told_apart(status: int, body: Any, meant: str) -> None:
    assert kind(status, body) == meant


@given(st.integers(300, 599), st.binary(max_size=60) | st.recursive(
    st.none() | st.text(max_size=9) | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(
        st.sampled_from(["error", "message", "detail", "code", "errors", "innererror"]), inner)))  # fmt: skip
def test_any_reply_has_a_kind_and_a_reason(status: int, body: Any) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    trouble = classify_reply_error(status, {"retry-after": "3"}, content, str)
    assert trouble.reason.startswith(f"HTTP {status}")
    assert len(trouble.reason) > len(f"HTTP {status}: ")
    assert trouble.wait_s == (3.0 if trouble.kind in ("passing", "address") else None)


def test_messages_are_found_in_all_the_shapes_in_use() -> None:
    for reply in (
        {"error": {"message": "why"}}, {"error": "why"}, {"message": "why"}, {"detail": "why"},
        {"errors": {"msg": "why"}},
        [{"error": {"message": "why"}}], {"error": {"detail": "why"}}, {"object": "error", "message": "why"},
    ):  # fmt: skip
        assert message_of(reply) == "why"


def test_a_missing_path_may_be_a_start_and_a_missing_model_is_none() -> None:
    def may_reload(status: int, body: Any) -> bool:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return classify_reply_error(status, {}, content, str).may_reload

    assert may_reload(404, {"detail": "Not Found"}) and may_reload(404, b"<h1>404</h1>") and may_reload(404, b"")
    assert not may_reload(404, {"error": {"message": "The model `m` does not exist"}})
    assert not may_reload(405, {"detail": "Method Not Allowed"})


def test_an_answer_wipes_out_what_rows_ended_in() -> None:
    evidence = Evidence()
    assert [evidence.add_row("account") for _ in range(2)] == [False, False]
    evidence.add_answer()
    assert [evidence.add_row("account") for _ in range(3)] == [False, False, True]
    assert not any(evidence.add_row("reply") for _ in range(100)), (
        "rows whose replies cannot be read are their own fault"
    )


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": 502, "message": "overloaded"}, "passing"),
        ({"code": "429", "message": "slow down"}, "passing"),
        ({"message": "something"}, "passing"),
        ("something", "passing"),
        ({"code": 402, "message": "add credits"}, "account"),
        ({"code": 400, "message": "flagged by our content filter"}, "content"),
        ({"status": 422, "message": "no such field"}, "refused"),
    ],
)
def test_an_error_in_a_good_reply_means_what_the_status_that_it_names_means(error: Any, kind: str) -> None:
    trouble = trouble_inside({"error": error}, {}, str)
    assert (trouble.kind, trouble.billed) == (kind, True)
    assert trouble.reason.startswith("an error in a good reply: ")
