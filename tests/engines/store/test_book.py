"""Money in a store: counted over calls and processes, never over the budget, and readable by anyone."""

from __future__ import annotations

from pathlib import Path

from prefboost.engines.budget import Budget, Spend
from prefboost.engines.store.store import Store


def test_the_book_is_kept_over_calls_and_never_exceeded(tmp_path: Path) -> None:
    path = tmp_path / "out.store"
    budget = Budget(requests=3, tokens=100, dollars=1.0)
    with Store(path) as store:
        assert store.book().add(Spend(2, 30, 30, 0.5), budget)
    with Store(path) as store, Store(path) as other:
        assert not store.book().add(Spend(2, 1, 1, 0.0), budget)
        assert not store.book().add(Spend(1, 40, 1, 0.0), budget)
        assert not store.book().add(Spend(1, 1, 1, 0.6), budget)
        assert other.book().add(Spend(1, 20, 20, 0.5), budget)
        assert store.book().total() == Spend(3, 50, 50, 1.0)


def test_the_total_is_read_without_a_right_to_write(tmp_path: Path) -> None:
    with Store(tmp_path / "s") as store:
        store.book().add(Spend(1, 2, 3, 0.5), Budget())
    with Store(tmp_path / "s", read_only=True) as store:
        assert store.book().total() == Spend(1, 2, 3, 0.5)
    with Store(tmp_path / "absent", read_only=True) as store:
        assert store.book().total() == Spend()
    assert not (tmp_path / "absent").exists()
