"""Async work behind a synchronous face: an event loop in a thread, also where the caller runs a loop itself."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import CancelledError, Future
from types import TracebackType
from typing import Any, Self, TypeVar

__all__ = ["BackgroundLoop"]

T = TypeVar("T")


class BackgroundLoop:
    """An event loop that runs in a thread for as long as the context is open."""

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="prefboost-calls", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wait_for(self._cancelled())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def wait_for(self, job: Coroutine[Any, Any, T]) -> T:
        """Run one job to its end."""
        return asyncio.run_coroutine_threadsafe(job, self._loop).result()

    def as_they_finish(self, jobs: Iterator[Callable[[], Coroutine[Any, Any, T]]], at_once: int) -> Iterator[T]:
        """Run jobs, some at once, and give what they return as they finish.

        A job is taken from the iterator, in the caller's thread, when there is room for it. After Ctrl-C, or when a job
        raises, what has finished is given, the others are cancelled, and then the exception goes on.

        Args:
            jobs: functions that make coroutines.
            at_once: most jobs that run at a time.
        """
        running: set[Future[T]] = set()
        finished: queue.SimpleQueue[Future[T]] = queue.SimpleQueue()
        try:
            while True:
                while len(running) < at_once and (make := next(jobs, None)) is not None:
                    future = asyncio.run_coroutine_threadsafe(make(), self._loop)
                    running.add(future)
                    future.add_done_callback(finished.put)
                if not running:
                    return
                done = finished.get()
                running.discard(done)
                yield done.result()
        except (KeyboardInterrupt, Exception):
            yield from _finished_well(running)
            raise
        finally:
            for future in running:
                future.cancel()

    async def _cancelled(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


def _finished_well(running: set[Future[T]]) -> list[T]:
    found = []
    for future in running:
        try:
            if future.done():
                found.append(future.result())
        except (Exception, CancelledError):  # the interrupt is what the caller is told of
            continue
    return found
