"""Waiting for what another thread or process does: for an event, never for a time."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import Any

PATIENCE_S = 1800.0
"""Seconds after which what is waited for is held to be broken: longer than it can take on any busy machine."""


def wait_until(condition: Callable[[], Any], what: str, process: subprocess.Popen[Any] | None = None) -> None:
    """Wait until a condition holds.

    Args:
        condition: looked at again and again.
        what: the condition in words, for the failure.
        process: brings the condition about; it must not end before.

    Raises:
        AssertionError: the process ended first, or nothing came in half an hour.
    """
    end = time.monotonic() + PATIENCE_S
    while not condition():
        if process is not None and process.poll() is not None and not condition():
            raise AssertionError(f"the process ended with {process.returncode} before this: {what}")
        if time.monotonic() > end:
            raise AssertionError(f"this did not come about in {PATIENCE_S:.0f} s: {what}")
        time.sleep(0.01)
