"""Processes that die in the midst of their own work.

A kill from outside comes too early or too late on a busy machine: before anything was begun, or after all was done.
These come at a point of the work itself, so that a test is killed where it means to be whatever the load.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import Any

calls = 0
"""Calls of the package's functions since `die_at_call`."""


def die() -> None:
    """End this process as a power cut does."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_at_call(number: int) -> None:
    """Die at a call of a function of the package, counted from here on.

    Args:
        number: of the call, from 1; 0 or less: count only.
    """
    global calls  # noqa: PLW0603 - one process, one count
    calls = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        global calls  # noqa: PLW0603
        if event == "call" and "/prefboost/" in frame.f_code.co_filename:
            calls += 1
            if calls == number:
                die()

    threading.setprofile(count)
    sys.setprofile(count)


def die_when_kept(rows: int) -> None:
    """Die when a store that has kept so many rows is about to keep more; the work on those is lost."""
    from prefboost.engines.store.store import Store

    finish, kept = Store.finish, [0]

    def finish_or_die(self: Store, done: Any) -> Any:
        if kept[0] >= rows:
            die()
        kept[0] += len(done)
        return finish(self, done)

    Store.finish = finish_or_die  # type: ignore[method-assign]


def at_step(step: int, what: Any) -> None:
    """Do something at the end of an optimiser step, and of every later one."""
    from transformers.trainer_callback import CallbackHandler

    end = CallbackHandler.on_step_end

    def on_step_end(self: Any, args: Any, state: Any, control: Any) -> Any:
        if state.global_step >= step:
            what()
        return end(self, args, state, control)

    CallbackHandler.on_step_end = on_step_end


def wait_to_be_killed() -> None:
    """Do nothing more."""
    while True:
        time.sleep(1)
