"""Outcomes of requests on disk while others are asked: as objects, results would take most of a command's memory."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator

from prefboost.engines.engine import Failure, Outcome, Result
from prefboost.scratch import ScratchFile

__all__ = ["OutcomeFile"]


class OutcomeFile:
    """Outcomes by the number of their request; the memory of one is 12 bytes.

    Args:
        requests: how many there are.
    """

    def __init__(self, requests: int) -> None:
        self._places = array("q", bytes(8 * requests))
        # Of each outcome in the file, in bytes; 0: there is none yet.
        self._lengths = array("I", bytes(4 * requests))
        self._file = ScratchFile()
        self.count = 0
        """Number of requests with an outcome."""
        self.failed = 0
        """Number of requests whose outcome is a failure."""
        self.has_reasoning = False
        """Whether any completion has thoughts."""

    def __len__(self) -> int:
        return len(self._lengths)

    def __setitem__(self, number: int, outcome: Outcome) -> None:
        """Keep the outcome of a request, which has none yet."""
        is_failure = isinstance(outcome, Failure)
        content = json.dumps([is_failure, *vars(outcome).values()]).encode()
        self._places[number] = self._file.append(content)
        self._lengths[number] = len(content)
        self.count += 1
        self.failed += is_failure
        if isinstance(outcome, Result) and outcome.reasoning is not None and not outcome.only_thinks:
            self.has_reasoning = True

    def __getitem__(self, number: int) -> Outcome | None:
        """Read the outcome of a request; None: there is none."""
        if not self._lengths[number]:
            return None
        is_failure, *values = json.loads(self._file.read(self._places[number], self._lengths[number]))
        return Failure(*values) if is_failure else Result(*values)

    def read_reasons(self) -> Iterator[str]:
        """Read why requests failed, in their order."""
        for number in range(len(self)):
            outcome = self[number]
            if isinstance(outcome, Failure):
                yield outcome.reason
