"""Memory of models that nothing uses any more is given back."""

from __future__ import annotations

import weakref

import pytest

from prefboost.devices import memory, release_memory


class Holder:
    """Something that refers to itself, as a model whose forward was replaced does."""

    def __init__(self) -> None:
        self.me = self


def test_what_only_refers_to_itself_is_freed_and_what_is_in_use_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "WORTH", 0)
    holder, other = Holder(), Holder()
    gone, stays = weakref.ref(holder), weakref.ref(other)
    del holder
    release_memory()
    assert gone() is None and stays() is other


def test_a_small_process_is_left_alone_and_an_unknown_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    collected: list[int] = []
    monkeypatch.setattr("gc.collect", lambda: collected.append(1))
    monkeypatch.setattr(memory, "WORTH", 1 << 50)
    release_memory()
    assert not collected
    monkeypatch.setattr(memory, "read_memory_in_use", lambda: None)
    release_memory()
    assert collected


def test_a_system_library_without_the_call_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "WORTH", 0)
    monkeypatch.setattr("ctypes.CDLL", lambda _: object())
    release_memory()
