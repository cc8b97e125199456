"""Claims without locks: who is at work on which rows, told by files that each process writes for itself.

A process shows that it lives by a file whose number it raises every few seconds (its beat). Others take it for dead
once that number has stood still for a while by their own clock, so that no two clocks need agree, nor go right. A claim
is a file that names rows. Whoever claims looks again after it has written, and has a row once it sees no other claim of
it: of two that write at once the later one sees the other. Where both do, the later stamp gives up at once, and the
earlier one looks again until the other has.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefboost.shelf import Shelf

__all__ = ["Claims", "identify_host", "is_process_alive"]

logger = logging.getLogger(__name__)

LIVE = "live"
"""Folder of beats and claims."""

_BEATS_OF_A_SILENCE = 6
"""Beats that a process may miss, one less, before others take it for dead."""

_LOOKS, _LOOK_S = 5, 0.02
"""Looks at claims that were written at the same time, and seconds between them."""

_WAIT_S = 0.4


@dataclass
class _Writer:
    """Another process: its last beat, when that was first seen, and its claims."""

    beat: int = -1
    seen_at: float = 0.0
    process: str = ""
    claims: dict[str, Mapping[str, Any]] = field(default_factory=dict)


class Claims:
    """Claims of this process, and its view of those of others.

    Args:
        shelf: of the store.
        writer: name of this process's opening of the store.
        silence_s: seconds without a beat after which a process counts as dead.
        lease_s: seconds of doing nothing after which this process stops to beat, as where it hangs.
        clock: seconds of a clock that nobody sets.
    """

    def __init__(
        self,
        shelf: Shelf,
        writer: str,
        silence_s: float,
        lease_s: float,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.shelf = shelf
        self.writer = writer
        self.silence_s = silence_s
        self.lease_s = lease_s
        self._clock = clock
        self._others: dict[str, _Writer] = {}
        self._mine: dict[str, set[str]] = {}
        self._count = self._beats = 0
        self._beaten_at = self._active_at = clock()
        self._lock = threading.RLock()
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Show the first beat, and go on beating until `stop`."""
        self._beat()

        def go_on() -> None:
            while not self._end.wait(self.silence_s / _BEATS_OF_A_SILENCE):
                # A process that hangs must not keep its rows for ever.
                if self._clock() > self._active_at + self.lease_s:
                    continue
                try:
                    self._beat()
                except Exception as error:  # a full disk, or a network that is down: the next beat may do
                    logger.info("the store was not told that this process lives: %s", error)

        self._thread = threading.Thread(target=go_on, name="store beats", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Give up all claims, and say that this process has ended."""
        self._end.set()
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            for name in [*self._mine, self._name_beat(self._beats)]:
                self.shelf.remove(f"{LIVE}/{name}")
            self._mine.clear()

    def was_silent(self) -> bool:
        """Tell whether others may have taken this process for dead, as after a standstill of the machine."""
        return self._clock() > self._beaten_at + self.silence_s / 2

    def is_alive(self, writer: str) -> bool:
        """Tell whether a writer is at work, as of the last `look`."""
        if writer == self.writer:
            return True
        other = self._others.get(writer)
        if other is None or not is_process_alive(other.process):
            return False
        return self._clock() <= other.seen_at + self.silence_s

    def look(self) -> None:
        """Look at the beats and claims of others."""
        with self._lock:
            names = self.shelf.list_files(LIVE)
            if any(f"{writer}.beat-" not in "\n".join(names) for writer in self._others):
                # A listing that is read in pieces may miss both the old beat and the new one.
                names |= self.shelf.list_files(LIVE)
            present: dict[str, set[str]] = {}
            for name in names:
                writer, _, rest = name.partition(".")
                if writer == self.writer or not rest:
                    continue
                other = self._others.setdefault(writer, _Writer())
                sort, number, *process = rest.split("-", 2)
                present.setdefault(writer, set()).add(name)
                if sort == "beat" and int(number) > other.beat:
                    other.beat, other.seen_at, other.process = int(number), self._clock(), "".join(process)
                elif sort == "claim" and name not in other.claims:
                    # Gone or half seen: the next look finds it, or not.
                    with suppress(FileNotFoundError, ValueError):
                        other.claims[name] = json.loads(self.shelf.read(f"{LIVE}/{name}"))
            for writer in list(self._others):
                # A claim that is gone was given up, or its rows are finished.
                other, left = self._others[writer], present.get(writer, set())
                other.claims = {name: claim for name, claim in other.claims.items() if name in left}
                # A writer takes its beat along when it ends.
                if not any(".beat-" in name for name in left):
                    del self._others[writer]

    def find_holders(self, keys: Iterable[str], before: tuple[int, str] | None = None) -> set[str]:
        """Find keys that another living process claims, or claimed before a stamp and writer."""
        held: set[str] = set()
        with self._lock:
            for writer, other in self._others.items():
                if other.claims and self.is_alive(writer):
                    for claim in other.claims.values():
                        if before is None or (claim["stamp"], writer) < before:
                            held.update(claim["keys"])
        return held.intersection(keys)

    def claim(self, keys: Iterable[str], stamp: int) -> set[str]:
        """Claim keys; return those that other processes have."""
        chosen = set(keys)
        with self._lock:
            name = self._write(chosen, stamp)
            for _ in range(_LOOKS):
                self.look()
                if not (held := self.find_holders(chosen)):
                    return held
                if held & self.find_holders(chosen, (stamp, self.writer)):
                    break
                # All others came later: they give up, unless they had looked before this claim was written.
                time.sleep(_LOOK_S)
            if chosen - held:
                self._write(chosen - held, stamp)
            self.shelf.remove(f"{LIVE}/{name}")
            del self._mine[name]
            return held

    def give_up(self, keys: Iterable[str]) -> None:
        """Give up claims: the rows are finished, or another process has them."""
        with self._lock:
            self._active_at = self._clock()
            gone = set(keys)
            for name in list(self._mine):
                self._mine[name] -= gone
                if not self._mine[name]:
                    del self._mine[name]
                    # Left over it holds rows until this process ends, which the next one is told again.
                    with suppress(OSError):
                        self.shelf.remove(f"{LIVE}/{name}")

    def _write(self, keys: set[str], stamp: int) -> str:
        self._count += 1
        name = f"{self.writer}.claim-{self._count}"
        self._mine[name] = set(keys)
        self._active_at = self._clock()
        text = json.dumps({"stamp": stamp, "keys": sorted(keys)})
        self.shelf.write(f"{LIVE}/{name}", text.encode(), durable=False)
        return name

    @contextmanager
    def hold(self, name: str, stamp: int, *, wait: bool) -> Iterator[bool]:
        """Hold a name that no other process holds; yields whether it could be had, which waiting makes sure of."""
        key = f"hold {name}"
        while (held := bool(self.claim([key], stamp))) and wait:
            time.sleep(random.uniform(0.0, _WAIT_S))
        try:
            yield not held
        finally:
            self.give_up([key])

    def sweep(self) -> None:
        """Remove beats and claims of processes that have died."""
        with self._lock:
            for writer in [writer for writer in self._others if not self.is_alive(writer)]:
                for name in self.shelf.list_files(LIVE):
                    if name.startswith(f"{writer}."):
                        self.shelf.remove(f"{LIVE}/{name}")
                del self._others[writer]

    def _name_beat(self, number: int) -> str:
        return f"{self.writer}.beat-{number}-{identify_host()}-{os.getpid()}-{_find_start(os.getpid())}"

    def _beat(self) -> None:
        with self._lock:
            # The new one first: a process without a beat has ended.
            self.shelf.write(f"{LIVE}/{self._name_beat(self._beats + 1)}", b"", durable=False)
            self._beats += 1
            self._beaten_at = self._clock()
            self.shelf.remove(f"{LIVE}/{self._name_beat(self._beats - 1)}")


def is_process_alive(process: str) -> bool:
    """Tell whether a process may live, by ``HOST-NUMBER-START``; of another host nobody knows, and it may."""
    host, number, start = process.split("-") if process.count("-") == 2 else ("", "", "")
    return host != identify_host() or (bool(number) and _find_start(int(number)) == start)


@functools.cache
def identify_host() -> str:
    """Name the machine since it started and the view of its processes, as a container has another one."""
    name = ""
    with suppress(OSError):
        name = Path("/proc/sys/kernel/random/boot_id").read_text("ascii") + str(Path("/proc/self/ns/pid").readlink())
    # Elsewhere than on Linux no process of another one is known to be dead but by its silence.
    return hashlib.sha256((name or os.urandom(8).hex()).encode()).hexdigest()[:12]


def _find_start(number: int) -> str:
    """Find when a process began, in ticks since the system started; empty where there is none."""
    with suppress(OSError, IndexError):
        # Behind the name, which may hold blanks and brackets.
        fields = Path(f"/proc/{number}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]
    return ""
