"""Who answers under a name is kept, once a day, and a change is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefboost.engines.store.sightings import Sighting, Watch, describe_change, sightings
from prefboost.engines.store.store import Store


class Named:
    """An engine that has been answered under some names."""

    identity = "http://h/v1/m"

    def __init__(self) -> None:
        self.answered_as: set[tuple[str, str]] = set()


def test_a_change_of_the_model_is_told_with_its_dates(tmp_path: Path) -> None:
    engine: Any = Named()
    with Store(tmp_path / "s") as store:
        watch = Watch(engine, store, lambda: "2026-11-01")
        engine.answered_as.add(("m-1", "fp_a"))
        watch.look()
        watch.look()
        assert sightings(store) == [Sighting("http://h/v1/m", "m-1", "fp_a", "2026-11-01")]
        assert describe_change(store, engine) is None
    engine = Named()
    engine.answered_as.add(("m-2", ""))
    with Store(tmp_path / "s") as store:
        Watch(engine, store, lambda: "2026-11-02").look()
        told = describe_change(store, engine)
        assert told is not None
        assert "2 different models or systems: m-1 (fp_a) (since 2026-11-01), m-2 (since 2026-11-02)" in told
        other: Any = Named()
        other.identity = "another"
        assert describe_change(store, other) is None
