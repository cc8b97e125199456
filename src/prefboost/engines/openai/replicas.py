"""Replicas of one model behind several addresses: each call goes to the one with the fewest calls in flight."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from json import loads
from typing import TYPE_CHECKING, Any

from prefboost.engines.openai.clients import Clients, Reply
from prefboost.engines.openai.pacing import backoff_s
from prefboost.errors import ModelError

if TYPE_CHECKING:
    from prefboost.engines.openai.engine import OpenAICompatible
    from prefboost.engines.openai.weights import NewWeights

__all__ = ["Replicas"]

PROBE_S = 30.0
"""Seconds in which a replica lists its models, or is taken to be down."""
FIRST_PROBE_S = 1.0
"""Seconds before a replica that is set aside is probed; they double with every probe in vain, with jitter."""
_LONGEST_PROBE_S = 60.0
_STRIKES = 3
"""Calls in succession that one replica breaks off or answers with 5xx, after which it is set aside: one alone may be
the fault of its row."""

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class _Replica:
    """One address, and what the calls of this run have shown of it.

    ``fault`` says why it is set aside, and is empty while it takes calls. ``replies`` tells whether somebody who may
    be the right model is there nevertheless. ``turn`` numbers its last call.
    """

    address: str
    clients: Clients
    in_flight: int = 0
    turn: int = 0
    strikes: int = 0
    fault: str = ""
    replies: bool = True
    has_weights: bool = False
    deaths: int = 0
    giving: asyncio.Lock = field(default_factory=asyncio.Lock)
    probes: int = 0
    prober: asyncio.Task[None] | None = None


class Replicas:
    """Clients of several servers with one model, in the place of those of one; for one event loop.

    Args:
        settings: addresses, model, calls at once over all replicas, and time-outs.
        key: sent to each of them as bearer token; None sends none.
        redact: takes secrets out of a text.
        noted: faults by address that the log holds already; runs that follow each other share it.
        weights: given to each of them before it gets a row; None: they have the model.
    """

    def __init__(
        self,
        settings: OpenAICompatible,
        key: str | None,
        redact: Callable[[str], str],
        noted: dict[str, str],
        weights: NewWeights | None = None,
    ) -> None:
        addresses = settings.base_urls or (settings.base_url,)
        self.base_url = ", ".join(addresses)
        self._weights = weights
        self._model = settings.model
        self._limits = settings
        self._redact = redact
        self._noted = noted
        # All of them may go to one replica while the others are down; a connection is opened only for a call.
        self._replicas = [_Replica(address, Clients(address, key, settings)) for address in addresses]
        # Not seeded by the run: clients that were started together must not probe together.
        self._draw = random.Random()
        self._turns = 0
        self._checked = False
        self._refusal: ModelError | None = None
        self._checking = asyncio.Lock()
        self._round: asyncio.Task[None] | None = None

    async def check_models(self) -> None:
        """Ask each replica for its models before the first call; one that is down or serves another is set aside.

        Raises:
            ModelError: no replica serves the model, or one has no routes to take the weights that it is to have.
        """
        if self._checked and self._refusal is None:
            return
        async with self._checking:
            if not self._checked:
                try:
                    await self._probe_all()
                except ModelError as error:
                    self._refusal = error
                self._checked = True
                if self._refusal is None and all(replica.fault for replica in self._replicas):
                    self._refusal = ModelError(
                        f"no replica serves {self._model}: {self._describe_faults()}",
                        remedy="start the servers, or correct base_urls or model",
                    )
            # Kept: calls that waited here would ask all replicas again, one after the other, before the run ends.
            if self._refusal is not None:
                raise self._refusal

    def can_ask_another(self, failed: set[str]) -> bool:
        """Tell whether a replica takes calls that is not among those that failed a row."""
        return any(not replica.fault and replica.address not in failed for replica in self._replicas)

    async def post(self, path: str, *, json: Any, failed: set[str]) -> Reply:
        """Send a body to a replica; to another one where nobody takes the connection, since nothing is sent then.

        Args:
            path: below the address.
            json: the body.
            failed: addresses that had this row before and are asked last; gets those that have it now. A good reply
                ends the row, so that nothing is taken out.

        Raises:
            httpx.HTTPError: no replica could be connected to, or the reply of one broke off.
        """
        import httpx

        refused: list[_Replica] = []
        while open_replicas := [each for each in await self.list_open() if each not in refused]:
            # Of those that are equally busy the one that has waited longest: else the first would take all slow rows.
            replica = min(open_replicas, key=lambda each: (each.address in failed, each.in_flight, each.turn))
            # Before the call: a time limit of the caller ends it without a word.
            failed.add(replica.address)
            self._turns += 1
            replica.turn = self._turns
            replica.in_flight += 1
            begun, deaths = time.monotonic(), replica.deaths
            try:
                reply = await replica.clients.post(path, json=json)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                self._set_aside(replica, f"cannot connect ({str(error) or type(error).__name__})", replies=False)
                refused.append(replica)
                continue
            except httpx.HTTPError as error:
                # Whoever answers there next may have been started anew, with the weights of its command line.
                is_gone = self._weights is not None and not isinstance(error, httpx.TimeoutException)
                self._count_strike(replica, f"the connection broke ({type(error).__name__})", is_gone=is_gone)
                raise
            except asyncio.CancelledError:
                # The caller's time limit comes as a cancellation. So does Ctrl-C, which is no fault of the replica.
                if time.monotonic() - begun >= 0.99 * self._limits.timeout_s:
                    self._count_strike(replica, f"no answer in {self._limits.timeout_s:g} s")
                raise
            finally:
                replica.in_flight -= 1
            # 404: the replica was started anew, with another model or not yet with any.
            if reply.status_code >= 500 or reply.status_code == 404:
                is_gone = self._weights is not None and reply.status_code == 404
                self._count_strike(replica, f"HTTP {reply.status_code}", is_gone=is_gone)
                return reply
            if self._weights is not None and replica.deaths > deaths:
                # It went while this call waited for a connection, and whoever answers may have been started anew.
                raise httpx.RemoteProtocolError("the server broke off meanwhile, and may have other weights")
            replica.strikes = replica.probes = 0
            # The reply to a call that was sent before the replica went says nothing of who is there now.
            if replica.fault and replica.replies:
                self._bring_back(replica)
            return reply
        raise httpx.ConnectError(f"no replica answers: {self._describe_faults()}")

    async def list_open(self) -> list[_Replica]:
        """List the replicas that may be called: where all are set aside, those that reply to a probe or to calls."""
        if is_open := [replica for replica in self._replicas if not replica.fault]:
            return is_open
        # Servers that answer with errors are called like a single one: its rules say when rows fail and the run stops.
        if replying := [replica for replica in self._replicas if replica.replies]:
            return replying
        # One that was gone may come back with another model, so that it is asked for it before it gets a row. Calls
        # that wait here share one round of probes.
        if self._round is None or self._round.done():
            self._round = asyncio.create_task(self._probe_all())
        await asyncio.shield(self._round)
        return [replica for replica in self._replicas if not replica.fault]

    async def aclose(self) -> None:
        """End all probes, and close all connections."""
        tasks = [task for task in (*(each.prober for each in self._replicas), self._round) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for replica in self._replicas:
            await replica.clients.aclose()

    def _count_strike(self, replica: _Replica, fault: str, *, is_gone: bool = False) -> None:
        replica.strikes += 1
        if is_gone:
            self._set_aside(replica, fault, replies=False)
        elif replica.strikes >= _STRIKES and not replica.fault:
            self._set_aside(replica, f"{fault}, {_STRIKES} calls in succession", replies=True)

    def _set_aside(self, replica: _Replica, fault: str, *, replies: bool) -> None:
        """Let the other replicas take the calls, and probe this one until it is back."""
        is_news = not replica.fault or fault.startswith(("serves ", "takes "))
        if not replies:
            replica.has_weights, replica.deaths = False, replica.deaths + 1
        replica.fault, replica.replies = self._redact(fault), replies
        if is_news and self._noted.get(replica.address) != replica.fault:
            self._noted[replica.address] = replica.fault
            left = sum(not each.fault for each in self._replicas)
            logger.warning(
                "the replica at %s is set aside: %s; %d of %d take calls",
                replica.address, replica.fault, left, len(self._replicas),
            )  # fmt: skip

        async def probe_until_back() -> None:
            while replica.fault:
                # Counted over the whole run until a call is answered: a replica that lists its models and answers
                # nothing comes back more and more rarely.
                replica.probes += 1
                await asyncio.sleep(backoff_s(replica.probes, FIRST_PROBE_S, _LONGEST_PROBE_S, self._draw))
                if replica.fault:
                    with suppress(ModelError):  # told by the first check, which is still running
                        await self._probe(replica)

        # A prober that still runs goes on: it ends only where its replica takes calls.
        if replica.prober is None or replica.prober.done():
            replica.prober = asyncio.create_task(probe_until_back())

    def _bring_back(self, replica: _Replica) -> None:
        replica.fault, replica.replies, replica.strikes = "", True, 0
        self._noted.pop(replica.address, None)
        logger.warning("the replica at %s is back and takes calls", replica.address)

    async def _probe_all(self) -> None:
        await asyncio.gather(*(self._probe(replica) for replica in self._replicas))

    async def _probe(self, replica: _Replica) -> None:
        """Ask a replica for its models: set it aside where it is down or serves another one, else bring it back."""
        import httpx

        try:
            async with asyncio.timeout(PROBE_S):
                reply = await replica.clients.get("/models")
        except (TimeoutError, httpx.HTTPError) as error:
            fault = f"cannot be reached ({str(error) or type(error).__name__})"
            self._set_aside(replica, fault, replies=False)
            return
        # 501: it lists no models, and that is no fault.
        if reply.status_code >= 500 and reply.status_code != 501:
            self._set_aside(replica, f"HTTP {reply.status_code} for its models", replies=False)
            return
        try:
            models = [str(model["id"]) for model in loads(reply.content)["data"]]
        except (ValueError, RecursionError, LookupError, TypeError):
            # Servers need not list their models, and a refused key is reported by the first call.
            models = []
        if self._weights is not None:
            # Two probes must not change it one after the other: the first one lets rows come.
            async with replica.giving:
                if not replica.has_weights or (self._weights.how == "lora" and self._model not in models):
                    try:
                        fault = await self._weights.hand_to(replica.clients, models, self._redact)
                    except ModelError as error:
                        # Before the first row it is the command that is wrong; later this server was started otherwise.
                        if not self._checked:
                            raise
                        fault = f"takes no new weights: {error.message}"
                    except httpx.HTTPError as error:
                        fault = f"takes no new weights ({str(error) or type(error).__name__})"
                    replica.has_weights = not fault
                    if fault:
                        self._set_aside(replica, fault, replies=False)
                        return
                models = [self._model]
        # Ollama adds a tag to names without one, and Google a folder; calls may leave them out.
        names = {self._model, f"{self._model}:latest", f"models/{self._model}"}
        if models and names.isdisjoint(models):
            fault = f"serves {', '.join(models)[:120]} and not {self._model}"
            self._set_aside(replica, fault, replies=False)
        elif replica.fault:
            self._bring_back(replica)

    def _describe_faults(self) -> str:
        return "; ".join(f"{each.address} {each.fault or 'is busy'}" for each in self._replicas)
