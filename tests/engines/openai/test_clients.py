"""Clients of one server: where the key goes, and how connections are shared out."""

from __future__ import annotations

import asyncio

import pytest
from faulty_server import FaultyServer

from prefboost.engines.openai.calls import CallLimits
from prefboost.engines.openai.clients import Clients, client_for

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

    async def main(url: str) -> tuple[int, str]:
        clients = Clients(f"{url}?api-version=7", None, CallLimits())
        reply = await clients.post("/chat/completions", json=body)
        await clients.aclose()
        return reply.status_code, str(reply.request.url)

    with FaultyServer(answer=lambda prompt, seed, place: "fine") as server:
        assert asyncio.run(main(server.base_url)) == (200, f"{server.base_url}/chat/completions?api-version=7")
        assert server.bodies == [body]
