"""Workers of one model on a cluster: actors that hold it open; one that dies is replaced."""

from __future__ import annotations

import json
import logging
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefboost.devices.numbers import NUMBERS_FILE, NumberName, read_recorded_numbers, record_numbers, start_keeping
from prefboost.engines.pool import LostWork
from prefboost.errors import RunError
from prefboost.runs.ray.cluster import find_cause, load_ray

__all__ = ["BatchWorker", "Copies", "Crew", "Seat"]

_QUEUED = 2
"""Batches that a worker has at a time: one that it computes, and the next."""
_DEATHS = 3
"""Workers that may die over one batch, or over one row, before it is given up."""
_LOOK_S = 1.0
_PATIENCE_S = 30.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Copies:
    """Copies of a model, and what each of them takes.

    Args:
        count: how many.
        gpus: of one copy; all on one node.
        cpus: cores of one copy.
    """

    count: int
    gpus: int
    cpus: float

    def __str__(self) -> str:
        device = f"{self.gpus} GPU{'s' * (self.gpus > 1)}" if self.gpus else f"{self.cpus:g} cores"
        return f"{self.count:,} workers, {device} each"


class BatchWorker:
    """A model in an actor's process; its methods are called by name with plain values."""

    def open(
        self,
        load: Callable[..., Any],
        arguments: Sequence[Any],
        *,
        numbers: NumberName | None = None,
        is_replacement: bool = False,
    ) -> NumberName | None:
        """Load the model with a number type that others have chosen, or choose one; return it."""
        # Like a store's: whatever in this process chooses a number type takes the recorded one.
        record = Path(tempfile.mkdtemp(prefix="prefboost-")) / NUMBERS_FILE
        if numbers is not None:
            record.write_text(json.dumps({"numbers": numbers}), encoding="utf-8")
        start_keeping(record)
        self._model = load(*arguments)
        # Engines choose the number type when they are asked for their name, and load weights later.
        getattr(self._model, "identity", None)
        return read_recorded_numbers()

    def call(self, name: str, arguments: Sequence[Any]) -> Any:
        """Call a method, or read a property; of an iterator all values are returned."""
        value = getattr(self._model, name)
        value = value(*arguments) if callable(value) else value
        return list(value) if hasattr(value, "__next__") else value


@dataclass(eq=False)
class Seat:
    """A place in a crew: an actor, or none while its replacement starts."""

    actor: Any = None
    busy: int = 0
    replacements: int = 0
    deaths: int = 0


class Crew:
    """Actors with one copy of a model each. Safe to use from several threads.

    Actors are started at the first call, and again at the next one after `release`. A copy may start late, where its
    node does: work begins as soon as one is there.

    Args:
        worker: class of the actors; has a method ``open``.
        copies: how many, and what each takes.
        arguments: of ``open``.
        make_room: is called before actors are started.
    """

    def __init__(
        self, worker: type, copies: Copies, arguments: Sequence[Any], make_room: Callable[[Crew], None]
    ) -> None:
        self.copies = copies
        self._worker = worker
        self._arguments = arguments
        self._make_room = make_room
        self._changed = threading.Condition()
        self._runs = False
        self._closed = False
        self._error: BaseException | None = None
        self._began = 0.0
        self._has_told = False
        self._started: list[Any] = []
        self._numbers: NumberName | None = None
        self._is_chosen = False
        self.seats = [Seat() for _ in range(copies.count)]

    @property
    def at_once(self) -> int:
        """Batches that keep all workers busy."""
        return self.copies.count * _QUEUED

    def call(self, name: str, *arguments: Any) -> Any:
        """See `prefboost.engines.pool.Workers`."""
        ray = load_ray()
        self._start()
        for _ in range(_DEATHS):
            seat, actor = self.take_seat()
            try:
                value = ray.get(actor.call.remote(name, arguments))
            except ray.exceptions.RayTaskError as error:
                raise find_cause(error) from None
            except ray.exceptions.RayError as error:
                self.replace(seat, actor, error)
                continue
            finally:
                with self._changed:
                    seat.busy -= 1
                    self._changed.notify_all()
            seat.deaths = 0
            return value
        raise LostWork(
            f"{_DEATHS} workers died over these rows",
            remedy="give each worker more memory, or make batches smaller; the log of Ray says how they ended",
        )

    def list_open(self, *, wait: bool) -> list[tuple[Seat, Any]]:
        """List seats with their actors that are ready; ``wait`` a second for the first, where there is none.

        Raises:
            PrefboostError: a model could not be opened.
        """
        self._start()
        with self._changed:
            self._raise_error()
            if wait and all(seat.actor is None for seat in self.seats):
                self._wait()
            return [(seat, seat.actor) for seat in self.seats if seat.actor is not None]

    def replace(self, seat: Seat, actor: Any, error: BaseException) -> None:
        """Put a new actor in the place of one that died; several threads may report the same death."""
        with self._changed:
            if seat.actor is not actor or not self._runs:
                return
            seat.actor = None
            seat.replacements += 1
            seat.deaths += 1
            if seat.deaths > _DEATHS * 2:
                self._error = RunError(
                    f"workers die as soon as they work, {seat.deaths} in succession: {_first_line(error)}",
                    remedy="give each worker more memory; what was answered is kept, and the same command resumes",
                )
                self._changed.notify_all()
                return
        logger.warning("a worker died (%s); its rows go to others, and another one is started", _first_line(error))
        with suppress(Exception):
            load_ray().kill(actor)
        self._open_in_background(seat)

    def close(self) -> None:
        """End all actors, and with them the calls that wait for them; start none any more."""
        self._closed = True
        self.release()

    def release(self) -> None:
        """End all actors, until the next call."""
        ray = load_ray()
        with self._changed:
            self._runs = False
            actors, self._started = self._started, []
            for seat in self.seats:
                seat.actor = None
            self._changed.notify_all()
        for actor in actors:
            # The cluster may be gone by now.
            with suppress(Exception):
                ray.kill(actor)

    def _start(self) -> None:
        with self._changed:
            self._raise_error()
            if self._runs:
                return
            self._runs = True
            self._began = time.monotonic()
            if not self._is_chosen:
                # Now and not before: the store in progress says what earlier runs have chosen.
                self._numbers = read_recorded_numbers()
                self._is_chosen = self._numbers is not None
        self._make_room(self)
        for seat in self.seats:
            self._open_in_background(seat)

    def take_seat(self) -> tuple[Seat, Any]:
        """Take a place in the queue of the open worker with the fewest calls; wait for one."""
        with self._changed:
            while True:
                self._raise_error()
                free = [seat for seat in self.seats if seat.actor is not None and seat.busy < _QUEUED]
                if free:
                    seat = min(free, key=lambda each: each.busy)
                    seat.busy += 1
                    return seat, seat.actor
                self._wait()

    def _wait(self) -> None:
        """Wait for a change, and say once where no worker finds a place."""
        self._changed.wait(_LOOK_S)
        self._raise_error()
        waited = time.monotonic() - self._began
        if not self._has_told and waited > _PATIENCE_S and all(seat.actor is None for seat in self.seats):
            self._has_told = True
            logger.warning(
                "no worker is ready after %.0f s: %s are wanted; `ray status` shows what the cluster has free",
                waited, self.copies,
            )  # fmt: skip

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error
        if self._closed:
            raise RunError("the pool is closed", remedy="run the same command again: it resumes")

    def _open_in_background(self, seat: Seat) -> None:
        threading.Thread(target=self._open, args=(seat,), name="prefboost-crew", daemon=True).start()

    def _open(self, seat: Seat) -> None:
        """Start an actor and open its model; the first one says which number type all others take."""
        ray = load_ray()
        with self._changed:
            # Else workers of unlike machines would choose differently, and rows be of two models.
            while not self._is_chosen and seat is not self.seats[0] and self._runs:
                self._changed.wait(_LOOK_S)
            numbers = self._numbers
            actor_class = ray.remote(self._worker).options(
                num_cpus=self.copies.cpus, num_gpus=self.copies.gpus, max_restarts=0, scheduling_strategy="SPREAD"
            )
            if not self._runs or self._error is not None:
                return
            actor = actor_class.remote()
            # Noted before it is placed, so that one that waits for room ends with the others.
            self._started.append(actor)
        try:
            chosen = ray.get(actor.open.remote(*self._arguments, numbers=numbers, is_replacement=seat.replacements > 0))
        except ray.exceptions.RayTaskError as error:
            with self._changed:
                self._error = find_cause(error)
                self._changed.notify_all()
            return
        except ray.exceptions.RayError as error:
            with self._changed:
                if actor not in self._started:
                    return
                seat.actor = actor
            self.replace(seat, actor, error)
            return
        with self._changed:
            if not self._is_chosen:
                self._numbers, self._is_chosen = chosen, True
                if chosen is not None:
                    record_numbers(chosen)
            # Another one may be wanted by now, or none.
            if actor in self._started:
                seat.actor = actor
            self._changed.notify_all()


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
