"""The store of segments: rows in files that only their writer touches, and an index that every process builds of them.

Nothing is locked and nothing is changed in place, so that NFS and object stores can hold it. A row can be computed
twice where two processes claim it in the same moment; the answer with the smallest (stamp, writer) then counts for all
who read. Stamps grow with what a writer has seen, however its clock is set.
"""

from __future__ import annotations

import json
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from prefboost.devices.numbers import NUMBERS_FILE, start_keeping, stop_keeping
from prefboost.engines.budget import Spend
from prefboost.engines.engine import Failure
from prefboost.engines.patience import Retry
from prefboost.engines.store.faults import segment_fault
from prefboost.engines.store.interface import SEAL, Claim, Stored, StoredRow, StoreQuery
from prefboost.engines.store.segments.blocks import Event, encode_block, encode_end, encode_segment
from prefboost.engines.store.segments.claims import Claims
from prefboost.engines.store.segments.compaction import compact, remove_replaced
from prefboost.engines.store.segments.index import SegmentIndex, build_event
from prefboost.engines.store.segments.reader import ROWS, SegmentReader, level_of, writer_of
from prefboost.engines.store.segments.spend import SegmentBook
from prefboost.errors import Place, PrefboostError, RunError
from prefboost.shelf import open_shelf

__all__ = ["MARK", "SegmentStore", "find_damage"]

MARK = "segments.json"
"""File by which a store of segments is known."""

_VERSION = 1
_SEGMENT_BYTES = 64 << 20
"""A segment that has grown to this is closed, and another one begun."""

_SWEPT_AFTER = 64
"""Segments of this process after which it makes fewer of them."""


class SegmentStore:
    """See `prefboost.engines.store.interface.AnswerStore`: answers shared by processes of any number of machines.

    Args:
        place: a folder, or an address of fsspec; made where it is missing, and continued where it exists.
        retry: which failures of earlier calls count as not asked yet.
        read_only: nothing is claimed or kept, and nothing is written.
        lease_s: seconds after which a claim of a process that lives but does nothing is void.
        silence_s: seconds without a sign of life after which others take this process for dead. One that is killed on
            the machine of the other is known to be dead at once.
        grace_s: seconds for which segments stay that a larger one has replaced.

    Raises:
        RunError: it cannot be used: no space or no right to write, another version, or a library that is missing.
    """

    def __init__(
        self,
        place: str | Path,
        *,
        retry: Retry = "failed",
        read_only: bool = False,
        lease_s: float = 3600.0,
        silence_s: float = 120.0,
        grace_s: float = 60.0,
    ) -> None:
        self.place = place
        self.retry = retry
        self.read_only = read_only
        self.owner = secrets.token_hex(8)
        self._lease_s, self._silence_s, self._grace_s = lease_s, silence_s, grace_s
        self._lock = threading.RLock()
        self._stamp = 0
        self._count = self._segments = 0
        # The segment that grows: name, bytes and rows in it.
        self._log: tuple[str, int, int] | None = None
        self._refreshed_at = -1e9

    def __enter__(self) -> Self:
        with self._explain():
            self.shelf = open_shelf(self.place)
            marked = self.shelf.exists(MARK)
            if marked and (version := json.loads(self.shelf.read(MARK)).get("version")) != _VERSION:
                raise RunError(
                    f"another version of prefboost wrote this store ({version}; this one writes {_VERSION})",
                    remedy="use that version, or name another store with --store",
                    place=Place(self.shelf.address),
                )
            if not marked and self.shelf.exists("rows.sqlite"):
                raise RunError(
                    "this folder is a store of SQLite, not of segments",
                    remedy="name the folder without segments:, or another folder",
                    place=Place(self.shelf.address),
                )
            if not marked and not self.read_only:
                text = json.dumps({"format": "prefboost store of segments", "version": _VERSION})
                self.shelf.write(MARK, text.encode())
            self._index = SegmentIndex()
            self._reader = SegmentReader(self.shelf, self._index)
            self._claims = Claims(self.shelf, self.owner, self._silence_s, self._lease_s)
            self._book = SegmentBook(self.shelf, self.owner)
            self._sealed = self.shelf.exists(SEAL)
            # A run that is resumed on another machine must find its rows, whose keys name the number type.
            self._numbers = Path(tempfile.mkdtemp(prefix="prefboost-")) / NUMBERS_FILE
            self._numbers_kept = self.shelf.exists(NUMBERS_FILE)
            if self._numbers_kept:
                self._numbers.write_bytes(self.shelf.read(NUMBERS_FILE))
            try:
                if not self.read_only:
                    self._claims.start()
                    self._claims.look()
                    self._claims.sweep()
                else:
                    self._claims.look()
                self._refresh()
                for name in [] if self.read_only else list(self._reader.damage):
                    # Of a higher level, so that it is read first and the damaged one no more.
                    self._reader.rescue(name, self._name_segment(f"-{level_of(name) + 1}.seg"))
            except BaseException:
                self._leave()
                raise
        start_keeping(self._numbers, writes=not self.read_only)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stop_keeping(self._numbers)
        try:
            # What went before is not hidden by a disk that is full by now: every answer stands there already.
            with suppress(RunError), self._explain():
                if not self.read_only:
                    self._keep_numbers()
                    self._book.close()
                    self._close_log()
                    self._compact(all_writers=True)
        finally:
            self._leave()

    @contextmanager
    def exclude_others(self) -> Iterator[None]:
        """Keep other processes out of such a block of the same store (to write a file that all would write)."""
        with ExitStack() as stack:
            if not self.read_only:
                with self._explain():
                    stack.enter_context(self._claims.hold("output", self._next_stamp(), wait=True))
            yield

    def find_answers(self, keys: Iterable[str]) -> dict[str, Stored]:
        """Find answers, and failures that are not asked again (``retry``), of those keys that have one."""
        with self._lock, self._explain():
            self._refresh_if_old()
            outcomes = self._index.find(keys)
        return {key: stored for key, (stored, _) in outcomes.items() if self._is_settled(stored)}

    def failures(self, keys: Iterable[str]) -> dict[str, Failure]:
        """Find recorded failures of those keys, whether they are asked again or not."""
        with self._lock, self._explain():
            self._refresh_if_old()
            outcomes = self._index.find(keys)
        return {key: stored for key, (stored, _) in outcomes.items() if isinstance(stored, Failure)}

    def claim(self, rows: Sequence[StoreQuery], *, whole: bool = False) -> Claim:
        """Claim rows, so that no other process asks them but one that claims them in the same moment.

        Args:
            rows: with different keys.
            whole: claim all that have no answer, or none where another process is asking one of them.

        Raises:
            RunError: the store is sealed, and an answer is missing.
        """
        keys = [query.key for query in rows]
        with self._lock, self._explain():
            self._keep_numbers()
            # First by what is known, so that a row that is held is not claimed; what counts is looked at after that.
            self._refresh_if_old()
            held = self._claims.find_holders(keys)
            claim = self._sort(keys, held)
            if claim.granted and self._sealed:
                raise RunError(
                    f"{len(claim.granted):,} answers are in no shard, so merging would have to ask for them",
                    remedy="merge where the shards were made: with the same models, versions of libraries and input",
                    place=Place(self.shelf.address),
                )
            if claim.granted and not (whole and claim.held):
                chosen, stamp = claim.granted, self._next_stamp()
                # A process that finished a row has put it there before its claim goes: claims first, then rows.
                held |= self._claims.claim(chosen, stamp)
                self._refresh()
                claim = self._sort(keys, held)
                self._claims.give_up(set(chosen) - set(claim.granted))
            if whole and claim.held:
                # Given back whole: two processes with parts of one batch would both wait for the other's.
                self._claims.give_up(claim.granted)
                claim.held.extend(claim.granted)
                claim.granted.clear()
        return claim

    def finish(self, rows: Sequence[tuple[StoreQuery, Stored]]) -> dict[str, Stored]:
        """Keep answers, all or none of them; of several answers to a row that of the smallest (stamp, writer) counts.

        Returns:
            what the store holds now, by key.
        """
        keys = [query.key for query, _ in rows]
        with self._lock, self._explain():
            self._keep_numbers()
            if self._claims.was_silent():
                # Others may have taken these rows over meanwhile.
                self._refresh()
            before = self._index.find(keys)
            events = [
                build_event(query.key, query.kind, query.text, stored, (self._next_stamp(), self.owner))
                for query, stored in rows
                if query.key not in before or isinstance(before[query.key][0], Failure)
            ]
            if events:
                self._write(events)
                self._index.add(events)
            self._claims.give_up(keys)
            if self._segments >= _SWEPT_AFTER:
                self._compact(all_writers=False)
            return {key: stored for key, (stored, _) in self._index.find(keys).items()}

    def rows(self, kind: str | None = None) -> Iterator[StoredRow]:
        """Yield every row that is done or failed, or those of one kind, oldest first; others may go on writing."""
        with self._lock, self._explain():
            self._refresh()
            rows = self._index.rows(kind)
        yield from rows

    @property
    def damage(self) -> dict[str, int | None]:
        """Damaged segments, and the rows of each that no other holds; None: nobody knows how many."""
        return dict(self._reader.damage)

    def book(self) -> SegmentBook:
        """Return the book of all that was spent in this store, by all processes and calls."""
        return self._book

    def import_store(self, rows: Iterable[StoredRow], spent: Spend, name: str) -> None:
        """Take over rows and costs of another store, under its name, so that doing so again changes nothing."""
        with self._lock, self._explain():
            events = [
                build_event(
                    row.key, row.kind, StoreQuery(row.kind, row.asked).text, row.stored,
                    (int(row.finished_at * 1e9), name),
                )
                for row in rows
            ]  # fmt: skip
            segment, target = encode_segment(events, {}), f"{name}-1-0.seg"
            self.shelf.write(f"{ROWS}/{target}", segment)
            self._stamp = max(self._stamp, self._index.add(events))
            self._reader.adopt(target, len(segment), len(events))
            self._book.import_total(spent, name)

    @contextmanager
    def _explain(self) -> Iterator[None]:
        """Turn errors of disks, networks and libraries into ones that say what to do."""
        try:
            yield
        except PrefboostError:
            raise
        except Exception as error:  # every file system raises its own kinds
            raise segment_fault(error, str(self.place)) from error

    def _leave(self) -> None:
        with suppress(Exception):
            if not self.read_only:
                self._claims.stop()
        self._index.close()
        self.shelf.close()
        shutil.rmtree(self._numbers.parent, ignore_errors=True)

    def _next_stamp(self) -> int:
        # Larger than all that was seen, so that a clock that is put back changes no order.
        self._stamp = max(time.time_ns(), self._stamp + 1)
        return self._stamp

    def _refresh(self) -> None:
        self._stamp = max(self._stamp, self._reader.refresh(self._claims.is_alive))
        self._refreshed_at = time.monotonic()

    def _refresh_if_old(self) -> None:
        if time.monotonic() < self._refreshed_at + self.shelf.refresh_s:
            return
        self._claims.look()
        self._refresh()

    def _sort(self, keys: Sequence[str], held: set[str]) -> Claim:
        claim, outcomes = Claim(), self._index.find(keys)
        for key in keys:
            stored, by = outcomes.get(key, (None, ""))
            # A failure of a call that still runs is settled too: two calls would ask it again in turn.
            if stored is not None and (self._is_settled(stored) or self._claims.is_alive(by)):
                claim.known[key] = stored
            elif key in held:
                claim.held.append(key)
            else:
                claim.granted.append(key)
        return claim

    def _is_settled(self, stored: Stored) -> bool:
        """Tell whether this is an answer, or a failure of an earlier call that stays as it is."""
        if not isinstance(stored, Failure):
            return True
        return self.retry == "none" or (self.retry == "failed" and stored.content)

    def _name_segment(self, ending: str) -> str:
        self._count += 1
        return f"{self.owner}-{self._count}{ending}"

    def _write(self, events: Sequence[Event]) -> None:
        """Write rows of this process; they stand there when this returns."""
        if not self.shelf.appends:
            name, segment = self._name_segment("-0.seg"), encode_segment(events, {})
            self.shelf.write(f"{ROWS}/{name}", segment)
            self._reader.adopt(name, len(segment), len(events))
            self._segments += 1
            return
        while True:
            name, size, count = self._log or (self._name_segment(".log"), 0, 0)
            block = encode_block(events, count)
            # Given up where it fails: half a block may stand at its end.
            self._log = None
            self.shelf.append(f"{ROWS}/{name}", block)
            self._log = name, size + len(block), count + len(events)
            self._reader.adopt(*self._log)
            # Others may have taken this process for dead, and have replaced the segment by what stood in it then.
            if not self._claims.was_silent() or self.shelf.exists(f"{ROWS}/{name}"):
                break
            self._log = None
        if size > _SEGMENT_BYTES:
            self._close_log()

    def _close_log(self) -> None:
        if self._log is None:
            return
        name, size, count = self._log
        self._log = None
        end = encode_end(count, {})
        self.shelf.append(f"{ROWS}/{name}", end)
        whole = name.removesuffix(".log") + "-0.seg"
        self.shelf.rename(f"{ROWS}/{name}", f"{ROWS}/{whole}")
        self._reader.adopt(whole, size + len(end), count)
        self._segments += 1

    def _compact(self, *, all_writers: bool) -> None:
        """Make fewer segments: of this process while it works, of all that nobody writes to when it ends."""
        self._segments = 0
        with self._claims.hold("compaction" if all_writers else self.owner, self._next_stamp(), wait=False) as free:
            # Two at once would do no harm, but the work twice.
            if free:

                def is_ours(name: str) -> bool:
                    if not all_writers:
                        return writer_of(name) == self.owner and name.endswith(".seg")
                    return name.endswith(".seg") or not self._claims.is_alive(writer_of(name))

                self._refresh()
                compact(self._reader, is_ours, lambda level: self._name_segment(f"-{level}.seg"))
                remove_replaced(self._reader, self._grace_s)

    def _keep_numbers(self) -> None:
        """Put the number type where others find it, once it is chosen here."""
        if not self._numbers_kept and self._numbers.exists():
            self.shelf.write(NUMBERS_FILE, self._numbers.read_bytes())
            self._numbers_kept = True


def find_damage(place: str | Path) -> str | None:
    """Read all segments of a store; return what is wrong with damaged ones, None where all are sound.

    Raises:
        RunError: the store cannot be read.
    """
    with SegmentStore(place, retry="none", read_only=True) as store:
        damage = store.damage
    return (
        None
        if not damage
        else ", ".join(f"{name}: {'unknown' if lost is None else lost} rows lost" for name, lost in damage.items())
    )
