"""A pool in this process, to which everything goes as it would to another machine."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any


class PicklingPool:
    """Opens models; ``calls`` are the names of what they were asked."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def open_engine(self, settings: Any) -> Any:
        raise NotImplementedError

    def open_model(self, device: str, load: Any, arguments: Sequence[Any]) -> Any:
        return _Model(self, _copy(load)(*_copy(tuple(arguments))))


class _Model:
    batches_at_once = 3

    def __init__(self, pool: PicklingPool, model: Any) -> None:
        self._pool = pool
        self._model = model

    def __getattr__(self, name: str) -> Any:
        self._pool.calls.append(name)
        value = getattr(self._model, name)
        return (lambda *arguments: _copy(value(*_copy(arguments)))) if callable(value) else _copy(value)


def _copy(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))
