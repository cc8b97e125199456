"""Settings by which a model samples by itself (generation_config.json): kept as its maker shipped them.

Published models state values that transformers loads with a warning and refuses to save (``do_sample: false`` with
``temperature: 0.9``). Other engines read them (vLLM takes the temperature), so that they are not ours to drop.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["set_aside_generation", "write_generation"]

_SHIPPED = "shipped_generation"
"""Attribute of a model under which its own settings wait."""

_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")
"""Settings that training may change: a trainer takes them over from the tokenizer."""


def set_aside_generation(model: Any) -> None:
    """Replace generation settings that transformers would refuse to save by the model's special tokens alone.

    Checkpoints on the way can then be written; `write_generation` puts the settings into the trained model.

    Args:
        model: of transformers; one that cannot generate is left alone.
    """
    from transformers import GenerationConfig

    shipped = getattr(model, "generation_config", None)
    if shipped is None:
        return
    # Strict validation is what transformers applies when it saves.
    try:
        shipped.validate(strict=True)
    except Exception:  # whatever is wrong with it, it is the same in the model trained from
        setattr(model, _SHIPPED, json.loads(shipped.to_json_string(use_diff=True)))
        model.generation_config = GenerationConfig(**{name: getattr(shipped, name, None) for name in _TOKENS})


def write_generation(model: Any, folder: Path) -> None:
    """Write the settings that were set aside into a saved model's folder, with the special tokens of now."""
    shipped = getattr(model, _SHIPPED, None)
    path = folder / "generation_config.json"
    if shipped is None or not path.exists():
        return
    now = json.loads(path.read_text(encoding="utf-8"))
    # The trained model may have other special tokens; everything else is its maker's.
    merged = {**shipped, **{name: now[name] for name in _TOKENS if now.get(name) is not None}}
    path.write_text(json.dumps(merged, indent=2, sort_keys=True) + "\n", encoding="utf-8")
