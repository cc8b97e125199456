"""The total spent, as the sum of what every writer says of itself: exact where listings are, without locks.

A writer puts down the most that it may spend before it spends it, then adds up what all others have put down. If that
exceeds the budget it takes its own back. Of several that write at once, the last one to write sees all the others, so
that together they stay within the budget wherever a listing shows all files that were written before (this machine's
disk, S3, GCS). Where a listing may be old (NFS with its caches) each of them can exceed it by what it put down at once.
"""

from __future__ import annotations

import json
import random
import threading
import time
from dataclasses import asdict

from prefboost.engines.budget import Budget, Spend
from prefboost.shelf import Shelf

__all__ = ["SegmentBook"]

SPEND = "spend"
"""Folder of what every writer has put down."""

_CALLS_AHEAD = 16
_UNLIMITED_AHEAD = 3
"""Times an amount that is put down ahead without a budget; a ledger adds up many calls before it asks."""

_SHARE_AHEAD = 16
"""Part of what is left of a budget that a writer puts down at most ahead of its calls: a sixteenth."""

_TRIES = 4
_NOTHING = Spend()
_UNLIMITED = Budget()


class SegmentBook:
    """See `prefboost.engines.budget.Book`.

    What is put down and not spent yet belongs to the next calls of this writer, so that few calls write a file. A
    killed writer leaves it in the total: too much, never too little.

    Args:
        shelf: of the store.
        writer: name of this process's opening of the store.
    """

    def __init__(self, shelf: Shelf, writer: str) -> None:
        self.shelf = shelf
        self.writer = writer
        self._lock = threading.RLock()
        self._spent = self._put_down = Spend()
        self._count = 0
        self._others: dict[str, tuple[int, Spend]] = {}

    def add(self, amount: Spend, budget: Budget) -> bool:
        """Add an amount if the total stays within the budget."""
        with self._lock:
            # Of this writer alone: what others put down is added where a limit is looked at.
            after = self._spent + amount
            if budget == _UNLIMITED:
                # Already spent, or not limited: it is written down in any case.
                if not self._put_down.covers(after):
                    ahead = _take_larger(after, after + amount * _UNLIMITED_AHEAD)
                    self._write(_take_larger(self._put_down, ahead))
                self._spent = after
                return True
            if self._put_down.covers(after) and budget.allows(self._sum_others(fresh=False) + self._put_down):
                self._spent = after
                return True
            # Put down what the call needs, with some calls ahead while much is left.
            for trial in range(_TRIES):
                others = self._sum_others(fresh=True)
                if not budget.allows(others + after):
                    break
                roomy = trial == 0 and budget.allows(others + after + amount * (_SHARE_AHEAD * _CALLS_AHEAD))
                self._write(after + amount * _CALLS_AHEAD if roomy else after)
                if budget.allows(self._sum_others(fresh=True) + self._put_down):
                    self._spent = after
                    return True
                # Others wrote at the same time, and each of them sees all: one that waits less gets it.
                self._write(self._spent)
                time.sleep(random.uniform(0.0, 0.05) * (trial + 1))
            self.close()
            return False

    def total(self) -> Spend:
        """Return all that was spent; of others at work, what they have put down."""
        with self._lock:
            return self._sum_others(fresh=True) + self._spent

    def close(self) -> None:
        """Give back what was put down and not spent."""
        with self._lock:
            if self._put_down != self._spent:
                self._write(self._spent)

    def import_total(self, amount: Spend, name: str) -> None:
        """Take over what was spent in another store, under its name, so that it counts once."""
        self.shelf.write(f"{SPEND}/{name}-1", json.dumps(asdict(amount)).encode())

    def _sum_others(self, *, fresh: bool) -> Spend:
        while fresh:
            numbers: dict[str, int] = {}
            for name in self.shelf.list_files(SPEND):
                writer, _, number = name.rpartition("-")
                if writer != self.writer:
                    numbers[writer] = max(numbers.get(writer, 0), int(number))
            try:
                for writer, latest in numbers.items():
                    if self._others.get(writer, (0, _NOTHING))[0] < latest:
                        text = self.shelf.read(f"{SPEND}/{writer}-{latest}")
                        self._others[writer] = latest, Spend(**json.loads(text))
            except FileNotFoundError:
                # Its writer has put down more meanwhile, which must not be missed.
                continue
            break
        return sum((amount for _, amount in self._others.values()), _NOTHING)

    def _write(self, amount: Spend) -> None:
        # The last two stay, so that a listing that takes its time sees one that is not older than its beginning.
        self.shelf.write(f"{SPEND}/{self.writer}-{self._count + 1}", json.dumps(asdict(amount)).encode())
        self._count += 1
        self._put_down = amount
        if self._count > 2:
            self.shelf.remove(f"{SPEND}/{self.writer}-{self._count - 2}")


def _take_larger(first: Spend, second: Spend) -> Spend:
    return Spend(
        max(first.requests, second.requests),
        max(first.prompt_tokens, second.prompt_tokens),
        max(first.tokens, second.tokens),
        max(first.dollars, second.dollars),
    )
