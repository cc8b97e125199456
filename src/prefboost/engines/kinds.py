"""Every built-in engine."""

from __future__ import annotations

from typing import Protocol

from prefboost.engines.engine import Engine
from prefboost.engines.llamacpp import LlamaCpp
from prefboost.engines.local.engine import Local
from prefboost.engines.openai.engine import OpenAICompatible
from prefboost.engines.replay import Replay
from prefboost.engines.vllm import VLLM
from prefboost.settings import Settings

__all__ = ["ENGINES", "EngineSettings", "parse_engine", "model_name"]


class EngineSettings(Protocol):
    """Settings that open an engine."""

    def open(self) -> Engine:
        """Open the engine; weights are loaded when they are first needed."""


ENGINES: dict[str, type[Settings]] = {
    "llamacpp": LlamaCpp,
    "local": Local,
    "openai_compatible": OpenAICompatible,
    "replay": Replay,
    "vllm": VLLM,
}
"""Built-in engines, kind -> settings."""


_PREFIXES = {
    "replay": ("replay", "path"),
    "openai": ("openai_compatible", "model"),
    "vllm": ("vllm", "model"),
    "llamacpp": ("llamacpp", "model"),
}
"""Prefix of MODEL on the command line -> kind, and the setting that holds the rest."""


def parse_engine(model: str) -> dict[str, str]:
    """Parse MODEL of the command line into engine settings.

    ``replay:FILE`` is a recording, ``openai:NAME`` a model on a server (its ``base_url`` is a setting), ``vllm:MODEL``
    runs in vLLM, ``llamacpp:FILE.gguf`` (or ``llamacpp:package:NAME``) in llama.cpp, everything else is a local model.
    """
    prefix, colon, rest = model.partition(":")
    # Only known prefixes: C:\models and package:NAME have a colon too.
    if colon and prefix in _PREFIXES:
        kind, name = _PREFIXES[prefix]
        return {"kind": kind, name: rest}
    return {"kind": "local", "model": model}


def model_name(settings: object) -> str:
    """Return the model's (or recording's) name in settings of an engine or scorer, as a price table lists it."""
    return str(getattr(settings, "model", None) or getattr(settings, "path", None) or getattr(settings, "name", None))
