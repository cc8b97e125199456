"""What asking a server through a store costs in CPU time, beside the barest asyncio loop that makes the same calls.

    python benchmarks/calls.py --rows 4000 --calls 256 --delay-ms 20

A server in another process answers after a delay. The bare loop posts the same bodies with httpx and reads the JSON: it
keeps nothing, checks nothing and would lose all at the first error. It is run with one client, as one writes it, and
with clients of two connections each, where httpx costs least. All are run in turn, several times, and ratios of CPU
times (all threads of this process) within a turn are shown: other work on the machine slows all of them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from prefboost.engines.engine import Request, Sampling
from prefboost.engines.openai.engine import OpenAICompatible
from prefboost.engines.store.reuse import generate_stored
from prefboost.engines.store.store import Store

SAMPLING = Sampling(max_tokens=64)
ANSWER = "An answer of some words, as a model might give it. " * 4


def serve(told: Connection, delay_s: float) -> None:
    """Answer every call after a delay; tells its port."""
    usage = {"prompt_tokens": 20, "completion_tokens": 48}
    choice = {"index": 0, "message": {"role": "assistant", "content": ANSWER}, "finish_reason": "stop"}
    body = {"id": "x", "object": "chat.completion", "model": "m", "choices": [choice], "usage": usage}
    reply = json.dumps(body).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(reply)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                fields = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
                length = next(int(field.split(b":")[1]) for field in fields if field.startswith(b"content-length"))
                await reader.readexactly(length)
                await asyncio.sleep(delay_s)
                writer.write(head + reply)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def main() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=1024)
        told.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


def requests_of(rows: int, turn: int) -> list[Request]:
    """Different questions for every turn."""
    ask = "Question {0} of turn {1}: what follows from the fact that {0} is a number?"
    texts = [ask.format(number, turn) for number in range(rows)]
    return [Request([{"role": "user", "content": text, "extra": None}]) for text in texts]


def ask_bare(url: str, bodies: Sequence[dict[str, Any]], at_once: int, connections: int) -> list[str]:
    """The barest loop, with as many connections to a client."""
    import httpx

    async def main() -> list[str]:
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        rest, answers = iter(bodies), []
        context = httpx.create_ssl_context()
        options: dict[str, Any] = {"limits": limits, "timeout": 300.0, "trust_env": False, "verify": context}
        clients = [httpx.AsyncClient(base_url=url, **options) for _ in range(-(-at_once // connections))]

        async def work(client: httpx.AsyncClient) -> None:
            for body in rest:
                response = await client.post("/chat/completions", json=body)
                answers.append(response.json()["choices"][0]["message"]["content"])

        await asyncio.gather(*(work(clients[number // connections]) for number in range(at_once)))
        for client in clients:
            await client.aclose()
        return answers

    return asyncio.run(main())


def ask_stored(url: str, requests: Sequence[Request], at_once: int) -> list[str]:
    """The same through the engine and a store: claimed, retried, paced, counted and kept."""
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "store") as store:
        engine = OpenAICompatible(model="m", base_url=url, concurrency=at_once).open()
        batches = generate_stored(engine, requests, SAMPLING, store)
        return [outcome.text for batch in batches for _, outcome in batch.results]  # type: ignore[union-attr]


def cpu_s(work: Callable[[], list[str]], rows: int) -> float:
    """CPU seconds of this process for some work that gives every row an answer."""
    start = time.process_time()
    answers = work()
    spent = time.process_time() - start
    assert answers == [ANSWER] * rows
    return spent


def main() -> None:
    """Run all in turn and print CPU time per row and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--calls", type=int, default=256, help="at once")
    parser.add_argument("--delay-ms", type=float, default=20.0)
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process
    server = process(target=serve, args=(there, options.delay_ms / 1e3), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{here.recv()}/v1"
    compare(url, options.rows, options.calls, options.turns)
    server.terminate()


def compare(url: str, rows: int, at_once: int, turns: int) -> None:
    """Print CPU time per row of every way in every turn, and the median ratios."""
    engine = OpenAICompatible(model="m", base_url=url).open()
    ratios: dict[str, list[float]] = {}
    for turn in range(-1, turns):  # the first one loads libraries and is not counted
        requests = requests_of(rows if turn >= 0 else 2 * at_once, turn)
        bodies = [engine.generation_body(one, SAMPLING) for one in requests]
        ways: dict[str, Callable[[], list[str]]] = {
            "bare, one client": partial(ask_bare, url, bodies, at_once, at_once),
            "bare, clients of 2": partial(ask_bare, url, bodies, at_once, min(2, at_once)),
            "through a store": partial(ask_stored, url, requests, at_once),
        }
        spent = {name: cpu_s(way, len(requests)) / len(requests) * 1e6 for name, way in ways.items()}
        if turn >= 0:
            print(f"turn {turn + 1}: " + ", ".join(f"{name} {each:,.0f} us" for name, each in spent.items()))
            for name in list(ways)[:-1]:
                ratios.setdefault(name, []).append(spent["through a store"] / spent[name])
    for name, found in ratios.items():
        print(f"CPU time per row through a store, over {name}: {statistics.median(found):.2f}")


if __name__ == "__main__":
    main()
