"""A session holds engines to one budget, and opens each once."""

from __future__ import annotations

from pathlib import Path

import pytest
from scripted_engine import Scripted

from prefboost.engines.budget import Budget, Spending
from prefboost.engines.call_session import CallSession
from prefboost.engines.store.store import Store
from prefboost.errors import SettingsError


def test_a_desk_needs_a_price_for_a_budget_in_dollars() -> None:
    session = CallSession(spending=Spending(budget=Budget(dollars=1.0)))
    with pytest.raises(SettingsError, match="price table"):
        session.open_engine(Scripted.by(str.upper))


def test_the_same_settings_give_the_same_engine() -> None:
    session, settings = CallSession(), Scripted.by(str.upper, name="a")
    assert session.open_engine(settings) is session.open_engine(settings)
    assert session.open_engine(Scripted.by(str.upper, name="b")) is not session.open_engine(settings)


def test_an_open_engine_is_held_to_the_budget_as_well(tmp_path: Path) -> None:
    settings = Scripted.by(str.upper)
    engine = settings.open()
    with Store(tmp_path / "s") as store:
        session = CallSession(store, Spending(budget=Budget(requests=2)))
        assert session.open_engine(settings, engine) is engine and engine.ledger.budget == Budget(requests=2)
        assert engine.ledger.reserve(engine.ledger.cost(1, 1, requests=2))
        assert not engine.ledger.reserve(engine.ledger.cost(1, 1, requests=1))
        assert session.changes == [None]
