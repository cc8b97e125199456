"""The interface of stores: what whoever asks models keeps answers in, on one machine or shared by many."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from types import TracebackType
from typing import Any, Protocol, Self

from prefboost.engines.budget import Book
from prefboost.engines.engine import Failure

__all__ = ["SEAL", "AnswerStore", "Claim", "Stored", "StoreQuery", "StoredRow"]

_KEYS = 1
"""Part of every key; answers under another one are not found again. What engines of this machine computed under
version 1 of the file keeps its keys."""

SEAL = "sealed"
"""File in a store's folder while shards are merged: nothing may be asked, since all must have been answered."""

_ENCODER = json.JSONEncoder(sort_keys=True, ensure_ascii=True)

Answer = Mapping[str, Any]
Stored = Answer | Failure


@dataclass(frozen=True)
class StoreQuery:
    """A question to an engine, and the key of its answer.

    Args:
        kind: which question, e.g. ``generate``.
        parts: all that the answer depends on; plain values.
    """

    kind: str
    parts: Mapping[str, Any]

    @cached_property
    def text(self) -> str:
        """The parts as JSON."""
        return _ENCODER.encode(self.parts)

    @cached_property
    def key(self) -> str:
        """32 hex digits of a hash of kind, parts and the version of keys."""
        # 128 bits of SHA-256: two of a billion rows meet with a probability of 1e-21.
        return hashlib.sha256(f"{_KEYS}\0{self.kind}\0{self.text}".encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Claim:
    """Outcome of claiming rows: granted to this process, answered already, or held by another process."""

    granted: list[str] = field(default_factory=list)
    known: dict[str, Stored] = field(default_factory=dict)
    held: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class StoredRow:
    """A row as it is exported."""

    key: str
    kind: str
    asked: Answer
    stored: Stored
    finished_at: float


class AnswerStore(Protocol):
    """A store of answers by key: `Store` on one machine, `SegmentStore` on disks and objects that many share."""

    @property
    def owner(self) -> str:
        """Name of this opening of the store, unlike any other."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def exclude_others(self) -> AbstractContextManager[None]:
        """Keep other processes out of such a block of the same store (to write a file that all would write)."""

    def find_answers(self, keys: Iterable[str]) -> dict[str, Stored]:
        """Find answers, and failures that are not asked again (``retry``), of those keys that have one."""

    def failures(self, keys: Iterable[str]) -> dict[str, Failure]:
        """Find recorded failures of those keys, whether they are asked again or not."""

    def claim(self, rows: Sequence[StoreQuery], *, whole: bool = False) -> Claim:
        """Claim rows, so that no other process asks them.

        Args:
            rows: with different keys.
            whole: claim all that have no answer, or none where another process is asking one of them.
        """

    def finish(self, rows: Sequence[tuple[StoreQuery, Stored]]) -> dict[str, Stored]:
        """Keep answers, all or none of them; return what the store holds now, by key."""

    def rows(self, kind: str | None = None) -> Iterator[StoredRow]:
        """Yield every row that is done or failed, or those of one kind, oldest first."""

    def book(self) -> Book:
        """Return the book of all that was spent in this store, by all processes and calls."""
