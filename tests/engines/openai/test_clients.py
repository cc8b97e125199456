"""Clients of one server: where the key goes, and how connections are shared out."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable, Coroutine
from typing import Any

import httpx
import pytest
from faulty_server import FaultyServer

from prefboost.engines.openai.clients import Clients, client_for
from prefboost.engines.openai.pacing import CallLimits

KEY = "sk-live-0123456789abcdef"


def test_a_key_is_sent_to_one_address_alone() -> None:
    client = client_for("http://127.0.0.1:1/v1", KEY, CallLimits())
    assert client.headers["authorization"] == f"Bearer {KEY}"
    assert "authorization" not in client_for("http://127.0.0.1:1/v1", None, CallLimits()).headers
    assert not client.follow_redirects


@pytest.mark.parametrize("concurrency", [1, 5, 16])
def test_as_many_calls_go_out_at_once_as_are_allowed_and_never_more(concurrency: int) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "p"}]}

    async def main(url: str) -> list[int]:
        clients = Clients(url, None, CallLimits(concurrency=concurrency))
        calls = [clients.post("/chat/completions", json=body) for _ in range(3 * concurrency)]
        replies = await asyncio.gather(*calls)
        await clients.aclose()
        return [reply.status_code for reply in replies]

    with FaultyServer(delay_s=0.02) as server:
        assert asyncio.run(main(server.base_url)) == [200] * 3 * concurrency
        assert server.most_at_once == concurrency


def test_a_call_that_fails_gives_its_connection_back() -> None:
    async def main(url: str) -> int:
        clients = Clients(url, None, CallLimits(concurrency=2))
        body = {"messages": [{"content": "p"}], "model": "m"}
        await asyncio.gather(*(clients.post("/x", json=body) for _ in range(6)), return_exceptions=True)
        reply = await clients.post("/chat/completions", json=body)
        await clients.aclose()
        return reply.status_code

    with FaultyServer(script=lambda body, call: "reset" if call <= 6 else None) as server:
        assert asyncio.run(main(server.base_url)) == 200


def test_a_call_is_the_one_that_httpx_makes_by_itself() -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "ä 😀"}], "seed": 3}

    async def main(url: str) -> None:
        clients = Clients(url, KEY, CallLimits())
        await clients.post("/chat/completions", json=body)
        await clients.aclose()
        async with client_for(url, KEY, CallLimits()) as client:
            await client.post("/chat/completions", json=body)

    with FaultyServer() as server:
        asyncio.run(main(server.base_url))
    assert server.bodies == [body, body]
    assert server.headers[0] == server.headers[1]
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"


def test_half_a_character_stops_no_call_and_a_query_stays_behind_the_path() -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "cut \ud83d"}]}

    async def main(url: str) -> int:
        clients = Clients(f"{url}?api-version=7", None, CallLimits())
        reply = await clients.post("/chat/completions", json=body)
        await clients.aclose()
        return reply.status_code

    with FaultyServer(answer=lambda prompt, seed, place: "fine") as server:
        assert asyncio.run(main(server.base_url)) == 200
        assert server.bodies == [body]
        assert server.paths == ["/v1/chat/completions?api-version=7"]


def reply_of(content: bytes, *fields: str) -> bytes:
    head = ["HTTP/1.1 200 OK", f"Content-Length: {len(content)}", *fields]
    return "\r\n".join([*head, "", ""]).encode() + content


def serve(reply: bytes, ask: Callable[[Clients], Coroutine[Any, Any, Any]], *, calls_each: int = 9) -> tuple[Any, int]:
    """Ask a server that gives one reply to all, and hangs up without a word after some calls; count connections."""
    connections = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        for _ in range(calls_each):
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                break
            await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]))
            writer.write(reply)
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def main() -> Any:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        clients = Clients(f"http://127.0.0.1:{port}/v1", None, CallLimits(concurrency=2))
        try:
            return await ask(clients)
        finally:
            await clients.aclose()
            server.close()

    return asyncio.run(main()), connections


async def ask_in_turn(clients: Clients) -> list[bytes]:
    contents = []
    for _ in range(3):
        contents.append((await clients.post("/chat/completions", json={})).content)
        for _ in range(50):  # a server that hangs up does so within some turns of this loop
            await asyncio.sleep(0.001)
    return contents


def test_calls_that_follow_each_other_share_a_connection() -> None:
    assert serve(reply_of(b"{}"), ask_in_turn) == ([b"{}"] * 3, 1)


def test_a_connection_that_the_server_has_closed_is_made_anew_before_a_call_is_lost_on_it() -> None:
    assert serve(reply_of(b"{}"), ask_in_turn, calls_each=1) == ([b"{}"] * 3, 3)
    assert serve(reply_of(b"{}", "Connection: close"), ask_in_turn) == ([b"{}"] * 3, 3)


def test_a_compressed_reply_is_read_and_one_that_breaks_off_or_cannot_be_decompressed_is_an_error_of_httpx() -> None:
    packed = reply_of(gzip.compress(b'{"a": 1}'), "Content-Encoding: gzip", "Retry-After: 7")

    async def ask(clients: Clients) -> Any:
        reply = await clients.post("/chat/completions", json={})
        return reply.status_code, reply.headers["retry-after"], reply.content

    assert serve(packed, ask) == ((200, "7", b'{"a": 1}'), 1)
    with pytest.raises(httpx.DecodingError):
        serve(reply_of(b"no gzip", "Content-Encoding: gzip"), ask)
    with pytest.raises(httpx.RemoteProtocolError):
        serve(packed[:-3], ask, calls_each=1)
    with pytest.raises(httpx.RemoteProtocolError):
        serve(b"no HTTP at all\r\n\r\n", ask)


def test_a_server_that_is_not_there_is_an_error_of_httpx() -> None:
    with pytest.raises(httpx.ConnectError):
        asyncio.run(Clients("http://127.0.0.1:1/v1", None, CallLimits()).post("/chat/completions", json={}))


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "ALL_PROXY"])
def test_calls_go_through_the_proxy_that_the_environment_names_and_past_it_to_this_machine(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    body = {"model": "m", "messages": [{"role": "user", "content": "p"}]}

    async def main(url: str) -> int:
        clients = Clients(url, KEY, CallLimits(concurrency=3))
        replies = await asyncio.gather(*(clients.post("/chat/completions", json=body) for _ in range(6)))
        await clients.aclose()
        return sum(reply.status_code == 200 for reply in replies)

    with FaultyServer(key=KEY) as server:
        monkeypatch.setenv(variable, server.base_url.removesuffix("/v1"))
        assert asyncio.run(main("http://models.test:8000/v1")) == 6
        assert set(server.paths) == {"http://models.test:8000/v1/chat/completions"}
        assert {fields["host"] for fields in server.headers} == {"models.test:8000"}
        assert server.bodies == [body] * 6
        server.paths.clear()
        assert asyncio.run(main(server.base_url)) == 6
        assert set(server.paths) == {"/v1/chat/completions"}
