"""Async work behind a synchronous face: an event loop in a thread, also where the caller runs a loop itself."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Coroutine, Generator, Iterator, Sequence
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

__all__ = ["BackgroundLoop"]

T = TypeVar("T")


class BackgroundLoop:
    """An event loop that runs in a thread for as long as the context is open."""

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        # A thread of its own: the caller may already run an event loop, as notebooks do.
        self._thread = threading.Thread(target=self._loop.run_forever, name="prefboost-calls", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wait_for(self.cancel_jobs())
        # The loop stops itself; stopping it from this thread would not wake it.
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def wait_for(self, job: Coroutine[Any, Any, T]) -> T:
        """Run one job to its end."""
        # Blocks this thread; the loop's own thread must never call it.
        return asyncio.run_coroutine_threadsafe(job, self._loop).result()

    def run_jobs(
        self, jobs: Iterator[Callable[[], Coroutine[Any, Any, T]]], at_once: int
    ) -> Generator[list[T], None, None]:
        """Run jobs, some at once, and give what they return as they finish: all that is there, then what comes next.

        Jobs are taken from the iterator, in the caller's thread, when there is room for them. After Ctrl-C, or when a
        job raises, what has finished is given, the others are cancelled, and then the exception goes on.

        Threads meet once for a batch, not once for a job: with many short jobs that was a third of their cost.

        Args:
            jobs: functions that make coroutines.
            at_once: most jobs that run at a time.
        """
        # All state of the crew is touched in the loop's thread alone, so it needs no lock; only its queue is shared.
        crew: _Crew[T] = _Crew(self._loop)
        running = 0
        try:
            while True:
                fresh: list[Callable[[], Coroutine[Any, Any, T]]] = []
                while running + len(fresh) < at_once and (make := next(jobs, None)) is not None:
                    fresh.append(make)
                if fresh:
                    running += len(fresh)
                    self._loop.call_soon_threadsafe(crew.start, fresh)
                if not running:
                    return
                # Blocks until at least one job is done; the queue holds one list per round of the loop.
                finished = crew.finished.get()
                running -= len(finished)
                broken = next((task for task in finished if task.exception() is not None), None)
                # Results of the same round come first: they are paid for, whatever went wrong beside them.
                yield [task.result() for task in finished if task.exception() is None]
                if broken is not None:
                    broken.result()
        except (KeyboardInterrupt, Exception):
            # Also after Ctrl-C: what has finished meanwhile is paid for and must reach the store.
            yield self.wait_for(crew.collect_results())
            raise
        finally:
            self._loop.call_soon_threadsafe(crew.cancel)

    async def cancel_jobs(self) -> None:
        """Cancel all jobs that still run, and wait for their end."""
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


class _Crew(Generic[T]):
    """Tasks of an event loop, in whose thread all methods run; what finishes in one round of the loop goes together."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.finished: queue.SimpleQueue[list[asyncio.Task[T]]] = queue.SimpleQueue()
        self._loop = loop
        self._running: set[asyncio.Task[T]] = set()
        self._round: list[asyncio.Task[T]] = []

    def start(self, jobs: Sequence[Callable[[], Coroutine[Any, Any, T]]]) -> None:
        for make in jobs:
            task = self._loop.create_task(make())
            self._running.add(task)
            task.add_done_callback(self.note_end)

    def cancel(self) -> None:
        for task in self._running:
            task.cancel()

    async def collect_results(self) -> list[T]:
        """Collect results that were not handed over yet."""
        self._hand_over()
        tasks: list[asyncio.Task[T]] = []
        while not self.finished.empty():
            tasks += self.finished.get_nowait()
        return [task.result() for task in tasks if not task.cancelled() and task.exception() is None]

    def note_end(self, task: asyncio.Task[T]) -> None:
        """Note that a task has ended; it is handed over with others of its round."""
        self._running.discard(task)
        if not task.cancelled():
            # Looked at here: of several tasks that fail together one is raised, and asyncio would print the others.
            task.exception()
            if not self._round:
                # Tasks that end in the same round of the loop are handed over together, behind all of their callbacks.
                self._loop.call_soon(self._hand_over)
            self._round.append(task)

    def _hand_over(self) -> None:
        if self._round:
            self.finished.put(self._round)
            self._round = []
