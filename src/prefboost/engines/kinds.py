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
        """The engine; expensive things are loaded when they are first needed."""


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
"""How MODEL on the command line may begin: kind, and the setting that holds the rest."""


def parse_engine(model: str) -> dict[str, str]:
    """What MODEL on the command line means.

    ``replay:FILE`` is a recording, ``openai:NAME`` a model on a server (its ``base_url`` is a setting), ``vllm:MODEL``
    runs in vLLM, ``llamacpp:FILE.gguf`` (or ``llamacpp:package:NAME``) in llama.cpp, everything else is a local model.
    """
    prefix, colon, rest = model.partition(":")
    if colon and prefix in _PREFIXES:
        kind, name = _PREFIXES[prefix]
        return {"kind": kind, name: rest}
    return {"kind": "local", "model": model}


def model_name(settings: object) -> str:
    """What settings (of an engine, a scorer) call the model, or the recording; a price table knows it by that name."""
    return str(getattr(settings, "model", None) or getattr(settings, "path", None) or getattr(settings, "name", None))
