"""Sightings of models: servers change the model behind a name without a word."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Protocol, runtime_checkable

from prefboost.engines.engine import Engine
from prefboost.engines.store.interface import AnswerStore, StoreQuery

__all__ = ["Sighting", "Watch", "describe_change", "list_reply_names", "sightings", "today"]


@dataclass(frozen=True)
class Sighting:
    """A model that answered, and when: the model under a name may change, and then so do its answers.

    Args:
        engine: identity of the engine that was asked: address and name, or fingerprint of the weights.
        model: the name that the server gave in its replies; where there is no server, the engine's identity.
        fingerprint: of the system behind it, as the server said; mostly empty.
        date: of calls, UTC.
    """

    engine: str
    model: str
    fingerprint: str
    date: str

    @property
    def name(self) -> str:
        """Model and, where there is one, fingerprint."""
        return f"{self.model} ({self.fingerprint})" if self.fingerprint else self.model


@runtime_checkable
class NamesReplies(Protocol):
    """An engine whose server names the model behind each reply."""

    @property
    def answered_as(self) -> set[tuple[str, str]]:
        """Name and fingerprint of every good reply so far; an empty text where the server gave none."""


def list_reply_names(engine: Engine) -> set[tuple[str, str]]:
    """List the names and fingerprints that an engine's server has given in replies; none where there is no server."""
    # Replies come in while the caller looks: it gets a copy to walk through.
    return set(engine.answered_as) if isinstance(engine, NamesReplies) else set()


def today() -> str:
    """Return the date, UTC."""
    return datetime.now(UTC).date().isoformat()


class Watch:
    """Keeps who answers an engine's calls, each name once a day.

    Args:
        engine: that is asked.
        store: open.
        clock: the date.
    """

    def __init__(self, engine: Engine, store: AnswerStore, clock: Callable[[], str] = today) -> None:
        self.engine = engine
        self.store = store
        self.clock = clock
        self._kept: set[Sighting] = set()

    def look(self) -> None:
        """Keep the names that are new since the last look."""
        engine, date = self.engine, self.clock()
        names = list_reply_names(engine) or {(engine.identity, "")}
        fresh = {Sighting(engine.identity, *name, date) for name in names} - self._kept
        rows = [
            StoreQuery("sighting", asdict(sighting)) for sighting in sorted(fresh, key=lambda sighting: sighting.name)
        ]
        stored = self.store.find_answers([row.key for row in rows])
        # Found before it is written: replies come in thousands, names change once in months.
        missing: list[tuple[StoreQuery, Any]] = [(row, {"seen": True}) for row in rows if row.key not in stored]
        if missing:
            self.store.finish(missing)
        self._kept |= fresh


def sightings(store: AnswerStore) -> list[Sighting]:
    """List all sightings of a store, oldest first."""
    return [Sighting(**row.asked) for row in store.rows("sighting")]


def describe_change(store: AnswerStore, engine: Engine) -> str | None:
    """Describe a server that answered under several names or as several systems; None where it did not.

    Args:
        store: open.
        engine: that was asked.
    """
    seen = [sighting for sighting in sightings(store) if sighting.engine == engine.identity]
    since: dict[str, str] = {}
    for sighting in seen:
        # Rows come oldest first, so the first date of a name stays.
        since.setdefault(sighting.name, sighting.date)
    if len(since) < 2:
        return None
    named = ", ".join(f"{name} (since {date})" for name, date in since.items())
    return f"the server answered as {len(since)} different models or systems: {named}; rows of both stand side by side"
