"""An object store of the memory that counts its requests and the bytes that they move."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

__all__ = ["Traffic", "count_traffic"]

_STILL = ("cp_file", "rm_file", "rm", "ls", "find", "exists")
"""Requests that move no bytes of files."""


class Traffic:
    """Bytes read and written, and requests by name."""

    def __init__(self) -> None:
        self.read = self.written = 0
        self.requests: Counter[str] = Counter()


def count_traffic(monkeypatch: pytest.MonkeyPatch) -> Traffic:
    """Count what goes to and from ``memory://`` from now on."""
    traffic = Traffic()

    def read(_: tuple[Any, ...], content: bytes) -> None:
        traffic.read += len(content)

    def fetch(arguments: tuple[Any, ...], _: Any) -> None:
        traffic.read += Path(arguments[1]).stat().st_size

    def write(arguments: tuple[Any, ...], _: Any) -> None:
        traffic.written += len(arguments[1])

    def put(arguments: tuple[Any, ...], _: Any) -> None:
        traffic.written += Path(arguments[0]).stat().st_size

    moving = {"cat_file": read, "get_file": fetch, "pipe_file": write, "put_file": put}
    for name, note in {**moving, **dict.fromkeys(_STILL, lambda *_: None)}.items():
        _watch(monkeypatch, traffic, name, note)
    return traffic


def _watch(
    monkeypatch: pytest.MonkeyPatch, traffic: Traffic, name: str, note: Callable[[tuple[Any, ...], Any], None]
) -> None:
    inner = getattr(MemoryFileSystem, name)

    def call(self: MemoryFileSystem, *arguments: Any, **options: Any) -> Any:
        outcome = inner(self, *arguments, **options)
        traffic.requests[name] += 1
        note(arguments, outcome)
        return outcome

    monkeypatch.setattr(MemoryFileSystem, name, call)
