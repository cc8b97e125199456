"""Every built-in engine."""

from __future__ import annotations

from typing import Protocol

from prefboost.engines.engine import Engine
from prefboost.engines.local import Local
from prefboost.engines.replay import Replay
from prefboost.settings import Settings

__all__ = ["ENGINES", "EngineSettings", "engine_settings_of"]


class EngineSettings(Protocol):
    """Settings that open an engine."""

    def open(self) -> Engine:
        """The engine; expensive things are loaded when they are first needed."""


ENGINES: dict[str, type[Settings]] = {"local": Local, "replay": Replay}
"""Built-in engines, kind -> settings."""


def engine_settings_of(model: str) -> dict[str, str]:
    """What MODEL on the command line means: ``replay:FILE`` is a recording, everything else a local model."""
    if model.startswith("replay:"):
        return {"kind": "replay", "path": model.removeprefix("replay:")}
    return {"kind": "local", "model": model}
