"""The executor of a stage: this process, or the first of several while the others wait."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Protocol

from prefboost.devices.launch import read_rank, read_world_size
from prefboost.errors import RunError

__all__ = ["Executor", "FirstOfMany", "LocalExecutor", "choose_executor"]


class Executor(Protocol):
    """Sees to it that a stage is done."""

    @property
    def is_main_process(self) -> bool:
        """Tell whether the work falls to this process."""

    def see_to(self, stage: str, done: Callable[[], bool], work: Callable[[], None]) -> None:
        """Return when ``done()`` holds, calling ``work`` if it falls to this process."""


class LocalExecutor:
    """Does the work here."""

    is_main_process = True

    def see_to(self, stage: str, done: Callable[[], bool], work: Callable[[], None]) -> None:
        """Call ``work`` unless the stage is done."""
        if not done():
            work()


class FirstOfMany:
    """Under ``accelerate launch``: the process of rank 0 does the work, the others wait for its files.

    The run folder must lie on a disk that all processes see.

    Args:
        rank: global rank of this process, from 0.
        wait_s: how long the others wait.
        poll_s: how often they look.
    """

    def __init__(self, rank: int, *, wait_s: float = 24 * 3600, poll_s: float = 0.5) -> None:
        self.rank = rank
        self.is_main_process = rank == 0
        self.wait_s = wait_s
        self.poll_s = poll_s

    def see_to(self, stage: str, done: Callable[[], bool], work: Callable[[], None]) -> None:
        """Call ``work`` on rank 0 unless the stage is done; wait elsewhere.

        Raises:
            RunError: rank 0 was not done in time.
        """
        if self.rank == 0:
            LocalExecutor().see_to(stage, done, work)
            return
        end = time.monotonic() + self.wait_s
        while not done():
            if time.monotonic() > end:
                raise RunError(
                    f"process {self.rank} waited {self.wait_s:.0f} s for stage {stage} of process 0",
                    remedy="put the run folder on a disk that all machines share",
                )
            time.sleep(self.poll_s)


def choose_executor(environment: Mapping[str, str]) -> Executor:
    """Choose the executor by how this process was started: launchers set ``RANK`` and ``WORLD_SIZE``."""
    return FirstOfMany(read_rank(environment)) if read_world_size(environment) > 1 else LocalExecutor()
