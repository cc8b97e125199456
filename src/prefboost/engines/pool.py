"""The pool of other machines that models run on, where a command was given one; else models run in this process.

Whoever asks models (generation, scoring, judging, synthesis, evaluation) opens them through `open_engine` or
`open_model`. Store, keys, budget and plans of batches stay in this process, so a pool only completes and computes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property
from typing import Any, Protocol, TypeVar

from prefboost.engines.budget import Ledger
from prefboost.engines.engine import Engine, Failure, Messages, Outcome, Request, Sampling
from prefboost.engines.kinds import EngineSettings
from prefboost.errors import RunError

__all__ = [
    "LostWork",
    "Pool",
    "PooledEngine",
    "Workers",
    "count_batches_at_once",
    "has_pool",
    "list_models",
    "make_room",
    "open_model",
    "open_engine",
    "run_batches",
    "work_with",
]

T = TypeVar("T")
Batch = TypeVar("Batch", bound=Sequence[Any])


class LostWork(RunError):
    """Work was given up: every worker that had it died."""


class Workers(Protocol):
    """Copies of one model on several machines."""

    @property
    def at_once(self) -> int:
        """Calls that keep all copies busy."""

    def call(self, name: str, *arguments: Any) -> Any:
        """Call a method of the model, or read a property, on a copy that is free; wait for the value.

        Raises:
            LostWork: the copies that had the call died, one after the other.
        """


class Pool(Protocol):
    """Machines that models run on."""

    def open_engine(self, settings: EngineSettings) -> Engine:
        """Open an engine whose rows are completed by the pool."""

    def open_model(self, device: str, load: Callable[..., T], arguments: Sequence[Any]) -> T:
        """Load copies of a model by calling ``load`` there; methods of what is returned run on one of them."""

    def release(self) -> None:
        """Let all models go; one that is called again is loaded again."""


_POOL: ContextVar[Pool | None] = ContextVar("pool", default=None)


@contextmanager
def work_with(pool: Pool) -> Iterator[None]:
    """Let models that are opened within the block run on a pool."""
    # Not an argument of every verb, scorer and benchmark: which machines compute is no part of what is computed.
    token = _POOL.set(pool)
    try:
        yield
    finally:
        _POOL.reset(token)


def has_pool() -> bool:
    """Tell whether models that are opened now run on other machines."""
    return _POOL.get() is not None


def open_engine(settings: EngineSettings) -> Engine:
    """Open an engine, on the pool where there is one."""
    pool = _POOL.get()
    return settings.open() if pool is None else pool.open_engine(settings)


def open_model(device: str, load: Callable[..., T], *arguments: Any) -> T:
    """Load a model that computes numbers, on the pool where there is one.

    Args:
        device: the setting of where it is to run.
        load: makes an object whose methods take and return plain values; importable by name.
        arguments: of ``load``; plain values or settings.
    """
    pool = _POOL.get()
    return load(*arguments) if pool is None else pool.open_model(device, load, arguments)


def make_room() -> None:
    """Let the pool's models go, where there is a pool: what follows needs its GPUs, or has changed the weights."""
    pool = _POOL.get()
    if pool is not None:
        pool.release()


def count_batches_at_once(model: Any) -> int:
    """Count the batches that a model computes at the same time: 1 unless it runs on a pool."""
    return int(getattr(model, "batches_at_once", 1))


def list_models(settings: Any) -> list[Any]:
    """List the different settings in a tree of settings that open an engine or load a model on a device."""
    models: dict[str, Any] = {}

    # By their text: two stages that name the same model share its copies.
    def walk(value: Any) -> None:
        if hasattr(type(value), "model_fields"):
            if hasattr(value, "open") or hasattr(value, "device"):
                models.setdefault(repr(value), value)
            for name in type(value).model_fields:
                walk(getattr(value, name))
        elif isinstance(value, tuple | list):
            for each in value:
                walk(each)

    walk(settings)
    return list(models.values())


def run_batches(
    batches: Iterable[Batch], compute: Callable[[Batch], list[T]], at_once: int
) -> Iterator[tuple[Batch, list[T]]]:
    """Compute batches, several at a time, and yield each with its values as it finishes.

    Args:
        batches: taken one by one when there is room, in the caller's thread.
        compute: of one batch; runs in threads where ``at_once`` is above 1.
        at_once: most batches that are computed at a time.
    """
    if at_once <= 1:
        for batch in batches:
            yield batch, compute(batch)
        return
    waiting = iter(batches)
    flying: dict[Future[list[T]], Batch] = {}
    threads = ThreadPoolExecutor(at_once, thread_name_prefix="prefboost-batches")

    def take_finished(finished: Iterable[Future[list[T]]]) -> Iterator[tuple[Batch, list[T]]]:
        # Values first: they are paid for, whatever went wrong beside them.
        order = sorted(finished, key=lambda future: future.exception() is not None)
        for future in order:
            batch = flying.pop(future)
            yield batch, future.result()

    try:
        while True:
            while len(flying) < at_once and (following := next(waiting, None)) is not None:
                flying[threads.submit(compute, following)] = following
            if not flying:
                return
            yield from take_finished(wait(flying, return_when=FIRST_COMPLETED).done)
    except KeyboardInterrupt:
        done = [future for future in flying if future.done() and future.exception() is None]
        yield from take_finished(done)
        raise
    finally:
        # Threads that wait for a worker end when the pool is closed; nobody waits for them here.
        threads.shutdown(wait=False, cancel_futures=True)


class PooledEngine:
    """See `prefboost.engines.engine.Engine`: an engine of this machine, with its weights on the workers alone.

    Prompts are rendered, counted and put into batches here, over all requests, exactly as without a pool: a batch is
    computed by one worker as a whole, so its rows do not depend on the pool.

    Args:
        here: the engine as this process opens it; its model is never loaded.
        workers: copies of it.
    """

    remote = False

    def __init__(self, here: Engine, workers: Workers) -> None:
        self.ledger = Ledger()
        self._here = here
        self._workers = workers

    def __getattr__(self, name: str) -> Any:
        # Settings and whatever else of the engine needs no model.
        return getattr(self._here, name)

    @property
    def batches_at_once(self) -> int:
        """Batches that keep all workers busy."""
        return self._workers.at_once

    @cached_property
    def identity(self) -> str:
        """As the first worker says it: number type and library are those of the machine that computes."""
        return str(self._workers.call("identity"))

    @cached_property
    def context(self) -> int | None:
        """As a worker says it."""
        limit: int | None = self._workers.call("context")
        return limit

    def generate(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[tuple[int, Outcome]]:
        """Complete every request; rows of a batch whose workers died are failures."""
        rows = list(requests)

        # A planned batch is one batch again, and goes to one worker as it is.
        def complete(batch: list[int]) -> list[tuple[int, Outcome]]:
            return self._ask("generate", [rows[index] for index in batch], sampling)

        batches = self._here.plan(rows, sampling)
        for batch, outcomes in run_batches(batches, complete, min(self.batches_at_once, len(batches))):
            for at, outcome in outcomes:
                yield batch[at], outcome

    def logprobs_of(
        self, requests: Iterable[Request], choices: Sequence[str]
    ) -> Iterator[tuple[int, tuple[float, ...] | Failure]]:
        """Yield the log-prob of each choice, computed by one worker."""
        yield from self._ask("logprobs_of", list(requests), tuple(choices))

    def logprob_of(self, requests: Sequence[Request], completions: Sequence[Messages]) -> list[float]:
        """Compute the log-prob of each completion, by one worker, in the batches that it makes of them."""
        logps: list[float] = self._workers.call("logprob_of", list(requests), list(completions))
        return logps

    def _ask(self, name: str, requests: list[Request], how: Any) -> list[tuple[int, Any]]:
        try:
            answers: list[tuple[int, Any]] = self._workers.call(name, requests, how)
        except LostWork as error:
            return [(index, Failure(error.message, 0)) for index in range(len(requests))]
        return answers
