"""A server on loopback that speaks OpenAI's HTTP interface and breaks it in all the ways that servers do.

Its answers are a function of the prompt and the seed, so that a test knows what is right. Which call is broken how is
drawn from the server's seed, the prompt and the number of the call for it. It counts what it is asked and what it
answers well.

No clock decides what a test sees, so that counts are exact on a busy machine too. While the server is open, clients in
this process wait half an hour for a connection, and give a call up as too late exactly where the fault ``slow`` is
drawn. `most_answers` holds the answers back at which a client is to be killed, and `wait_until_left` waits until all
that a dead client has sent is counted.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from unittest import mock

from waiting import PATIENCE_S, wait_until

FAULTS = ("429", "500", "slow", "cut", "malformed", "truncated", "too_few", "too_many", "error_in_reply", "nan")
BACKLOG = 4096
"""Connections that the system accepts while the server's thread has no turn."""
TOO_LATE = "x-too-late"
"""Header of a reply that stands for one that does not come in time."""


def answer_to(prompt: str, seed: int, place: int = 0) -> str:
    """The right completion: what the model would say."""
    return f"{prompt[::-1]} #{seed}" + (f".{place}" if place else "")


def likeliest_tokens(prompt: str) -> dict[str, float]:
    """Log-probs of the likeliest first tokens."""
    return {" A": -1.5, "A": -1.5, "B": -0.5}


@dataclass
class FaultyServer:
    """Answers at ``base_url`` while the context is open.

    ``rates``: share of calls broken by each fault. ``refused``: prompts that are answered with HTTP 400.
    ``one_choice``: gives one choice whatever n is, as some servers do.
    ``answer``: what is said, by prompt, seed and place. ``likely``: log-probs of first tokens, by prompt.
    ``dialect``: what becomes of a good reply, by the reply and the prompt; None leaves it as it is.
    ``count``: tokens that messages have, for what it bills. ``named``: model and fingerprint in its replies.
    ``script``: (body, number of the call, from 1) -> a bad answer (status and body), ``reset``, ``hang``, or None for
        a good one.
    ``bills``: tokens read and written -> what it reports of them.
    ``attempts``: calls that the client makes for a row. Connections of last calls are broken twice at most: three rows
        in succession that end so stop a run, and which rows follow each other is up to the machine's load.
    ``models``: what it lists at /models, which counts as no call; None: it lists none.
    ``port``: where it listens; 0: where the system likes.
    ``most_answers``: good answers after which further ones are held back until this is raised or None.

    ``calls`` is what was received, ``faults``, ``answered`` and ``lost`` (the asker had gone) what became of it.
    """

    rates: dict[str, float] = field(default_factory=dict)
    seed: int = 0
    delay_s: float = 0.0
    key: str | None = None
    refused: frozenset[str] = frozenset()
    one_choice: bool = False
    fields_refused: tuple[str, ...] = ()
    counts_tokens: bool = True
    answer: Callable[[str, int, int], str] = answer_to
    likely: Callable[[str], dict[str, float]] = likeliest_tokens
    count: Callable[[list[dict[str, Any]]], int] | None = None
    named: tuple[str, str] | None = None
    script: Callable[[dict[str, Any], int], tuple[int, Any] | str | None] | None = None
    bills: Callable[[int, int], tuple[int, int]] = lambda read, written: (read, written)
    dialect: Callable[[dict[str, Any], str], dict[str, Any]] | None = None
    attempts: int | None = None
    models: tuple[str, ...] | None = ("m",)
    port: int = 0
    listings: int = 0
    most_answers: int | None = None
    billed: int = 0
    calls: int = 0
    lost: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    asked: Counter[tuple[str, int]] = field(default_factory=Counter)
    answered: Counter[tuple[str, int]] = field(default_factory=Counter)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0

    def __enter__(self) -> Self:
        self._open = ExitStack()
        self._open.enter_context(patient_clients())
        self._serving: set[int] = set()
        self._last_calls_broken = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", self.port, backlog=BACKLOG), self._loop
        ).result()
        self._port = self._server.sockets[0].getsockname()[1]
        self.base_url = f"http://127.0.0.1:{self._port}/v1"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._closed(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._open.close()

    def wait_until_left(self) -> None:
        """Wait until the connections of clients that have ended are closed, and all that they sent is counted.

        Connections are accepted in the order in which they were made: with a last one all earlier ones are.
        """
        with socket.create_connection(("127.0.0.1", self._port), timeout=PATIENCE_S) as last:
            wait_until(lambda: last.getsockname()[1] in self._serving, "the server accepts connections")
        wait_until(lambda: not self._serving, "all connections are closed")

    async def _closed(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = writer.get_extra_info("peername")[1]
        self._serving.add(port)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
                path = head[0].split()[1]
                body = json.loads(await reader.readexactly(int(fields.get("content-length", "0"))) or b"{}")
                if path.endswith("/models"):
                    self._list_models(writer)
                    continue
                self.at_once += 1
                self.most_at_once = max(self.most_at_once, self.at_once)
                try:
                    going_on = await self._reply(path, fields, body, (reader, writer))
                finally:
                    self.at_once -= 1
                if not going_on:
                    break
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            self._serving.discard(port)
            writer.close()

    def _list_models(self, writer: asyncio.StreamWriter) -> None:
        self.listings += 1
        if self.models is None:
            _send(writer, 404, "no such path")
        else:
            _send(writer, 200, {"data": [{"id": name} for name in self.models]})

    async def _reply(
        self,
        path: str,
        fields: dict[str, str],
        body: dict[str, Any],
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> bool:
        """Answer one call; whether the connection stays open."""
        reader, writer = streams
        self.calls += 1
        self.bodies.append(body)
        self.headers.append(fields)
        self.paths.append(path)
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        prompt = body["messages"][-1]["content"] if "messages" in body else body["prompt"]
        row = (prompt, body.get("seed", -1))
        self.asked[row] += 1
        if self.key is not None and fields.get("authorization") != f"Bearer {self.key}":
            return _send(writer, 401, {"error": {"message": f"Incorrect API key: {fields.get('authorization')}"}})
        if prompt in self.refused:
            return _send(writer, 400, {"error": {"message": "this prompt is refused", "code": "content_policy"}})
        scripted = None if self.script is None else self.script(body, self.calls)
        if scripted == "hang":
            await reader.read()  # until the asker goes
            return False
        if scripted == "reset":
            writer.transport.abort()
            return False
        if isinstance(scripted, tuple):
            return _send(writer, *scripted)
        unknown = [name for name in self.fields_refused if name in body]
        if unknown:
            return _send(writer, 400, {"error": {"message": f"unknown field {unknown[0]}"}})
        fault = self._fault(row)
        if fault == "nan" and "logprobs" not in body:
            fault = None
        if fault is not None:
            self.faults[fault] += 1
            going_on = await self._break(fault, body, writer)
            if going_on is not None:
                return going_on
        while self.most_answers is not None and self.answered.total() >= self.most_answers and not reader.at_eof():
            await asyncio.sleep(0.005)
        if reader.at_eof():
            self.lost += 1
            return False
        # Counted first: once it is sent, the test's own thread may go on and look at the count.
        self.answered[row] += 1
        _send(writer, 200, self._good(path, body, prompt))
        return True

    def _fault(self, row: tuple[str, int]) -> str | None:
        draw = random.Random(f"{self.seed} {row} {self.asked[row]}").random()
        for fault in FAULTS:
            draw -= self.rates.get(fault, 0.0)
            if draw < 0:
                return self._at_last_call(fault) if self.asked[row] == self.attempts else fault
        return None

    def _at_last_call(self, fault: str) -> str:
        self._last_calls_broken += fault in ("cut", "truncated")
        return "500" if fault in ("cut", "truncated") and self._last_calls_broken > 2 else fault

    async def _break(self, fault: str, body: dict[str, Any], writer: asyncio.StreamWriter) -> bool | None:
        """Answer badly; None: the fault does not apply to this call."""
        if fault == "429":
            return _send(writer, 429, {"error": {"message": "slow down"}}, {"Retry-After": "0.02"})
        if fault == "500":
            return _send(writer, 500, "<html>internal error</html>")
        if fault == "slow":
            return _send(writer, 418, "for clients in the server's process alone", {TOO_LATE: "yes"})
        if fault == "cut":
            return False
        if fault == "malformed":
            return _send(writer, 200, '{"choices": [{"message": {"content": "half')
        if fault == "truncated":
            writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n{"choices": [{"message": {"content": "ha')
            await writer.drain()
            return False
        if fault == "error_in_reply":
            return _send(writer, 200, {"error": {"message": "overloaded", "code": 502}})
        if fault == "too_few":
            return _send(writer, 200, {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 0}})
        if fault == "nan":
            top = [{"token": "A", "logprob": float("nan")}]
            choice = {
                "message": {"content": "A"},
                "finish_reason": "length",
                "logprobs": {"content": [{"top_logprobs": top}]},
            }
            return _send(writer, 200, {"choices": [choice]})
        return None

    def _good(self, path: str, body: dict[str, Any], prompt: str) -> dict[str, Any]:
        seed, wanted = body.get("seed", -1), 1 if self.one_choice else body.get("n", 1)
        extra = 2 if self.rates.get("too_many") else 0
        texts = [self.answer(prompt, seed, place) for place in range(wanted + extra)]
        choices: list[dict[str, Any]] = []
        for place, text in enumerate(texts):
            said = (
                {"message": {"role": "assistant", "content": text}}
                if path.endswith("/chat/completions")
                else {"text": text}
            )
            choices.append({"index": place, **said, "finish_reason": "stop"})
        if body.get("logprobs"):
            top = [{"token": token, "logprob": value} for token, value in self.likely(prompt).items()]
            choices[0]["logprobs"] = {"content": [{"token": "B", "top_logprobs": top}]}
        reply: dict[str, Any] = {"id": "x", "object": "chat.completion", "model": body["model"], "choices": choices}
        if self.named is not None:
            reply |= dict(zip(("model", "system_fingerprint"), self.named, strict=True))
        if self.counts_tokens:
            written = sum(len(text) for text in texts)
            read = len(prompt) if self.count is None else self.count(body["messages"])
            read, written = self.bills(read, written)
            self.billed += read + (1 if body.get("logprobs") else written)
            reply["usage"] = {"prompt_tokens": read, "completion_tokens": written}
        return reply if self.dialect is None else self.dialect(reply, prompt)


@contextmanager
def patient_clients() -> Iterator[None]:
    """Let clients in this process wait for connections, and time out on replies that are marked as too late."""
    import httpx

    from prefboost.engines.openai.clients import Clients, Reply

    post = Clients.post

    async def post_and_look(self: Clients, path: str, *, json: Any) -> Reply:
        reply = await post(self, path, json=json)
        if TOO_LATE in reply.headers:
            raise httpx.ReadTimeout("the reply is marked as too late")
        return reply

    with (
        mock.patch.object(Clients, "post", post_and_look),
        mock.patch("prefboost.engines.openai.clients.CONNECT_S", PATIENCE_S),
        mock.patch("prefboost.engines.openai.calls.CONNECT_S", PATIENCE_S),
        mock.patch("prefboost.engines.openai.replicas.PROBE_S", PATIENCE_S),
    ):
        yield


def _send(
    writer: asyncio.StreamWriter, status: int, body: dict[str, Any] | str, headers: dict[str, str] | None = None
) -> bool:
    text = (body if isinstance(body, str) else json.dumps(body)).encode()
    extra = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(text)}\r\n{extra}\r\n".encode() + text)
    return True
