"""The number type in which a trained model is saved: by default that of the model it was trained from.

Training keeps weights in float32 so that small updates add up; a checkpoint of a bfloat16 model does not need four
bytes per weight. Weights are rounded once, when they are written; those in memory stay as they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from prefboost.engines.loading_faults import explain_loading
from prefboost.engines.packaged import model_folder
from prefboost.training.adapters import adapter_chain
from prefboost.training.optimisation import Optimisation

__all__ = ["base_type", "choose_saved_type", "describe_saved_type", "round_weights", "state_type"]


def choose_saved_type(settings: Optimisation, trained: torch.dtype) -> torch.dtype:
    """The type to save in: ``settings.save_type``, or for ``auto`` that of the base, but none wider than was trained.

    Args:
        settings: of the training.
        trained: type of the weights in memory.

    Raises:
        ModelError: the configuration of the model cannot be read.
    """
    if settings.save_type != "auto":
        asked: torch.dtype = getattr(torch, settings.save_type)
        return asked
    base = base_type(settings.model, settings.revision, trust_remote_code=settings.trust_remote_code)
    return trained if base is None or base.itemsize >= trained.itemsize else base


def base_type(name: str, revision: str | None = None, *, trust_remote_code: bool = False) -> torch.dtype | None:
    """The type that a checkpoint states, or in which its weights are; None where neither is a float of 16 to 64 bits.

    Args:
        name: a folder, a hub id, or ``package:NAME``; of an adapter the base counts.
        revision: branch, tag or commit of a hub id.
        trust_remote_code: run code that the checkpoint brings.

    Raises:
        ModelError: there is no such model.
    """
    from transformers import AutoConfig

    name, adapters = adapter_chain(name, revision)
    revision = None if adapters else revision
    with explain_loading(name):
        config = AutoConfig.from_pretrained(
            model_folder(name), revision=revision or "main", trust_remote_code=trust_remote_code
        )
    stated = config.dtype or config.get_text_config().dtype or _type_of_weights(Path(model_folder(name)))
    found = getattr(torch, stated.removeprefix("torch."), None) if isinstance(stated, str) else stated
    return found if found in (torch.bfloat16, torch.float16, torch.float32, torch.float64) else None


def _type_of_weights(folder: Path) -> str | None:
    """The type of the first tensor of a folder's weights, by its name in torch."""
    from safetensors import safe_open

    names = {"BF16": "bfloat16", "F16": "float16", "F32": "float32", "F64": "float64"}
    for path in sorted(folder.glob("*.safetensors"))[:1] if folder.is_dir() else []:
        with explain_loading(str(folder)), safe_open(path, framework="pt") as weights:
            return names.get(next((weights.get_slice(key).get_dtype() for key in weights.keys()), ""))  # noqa: SIM118
    return None


def round_weights(model: Any, weights: Mapping[str, Tensor] | None, dtype: torch.dtype) -> dict[str, Tensor] | None:
    """All weights in the type to save, on the CPU; None where they have it already.

    Args:
        model: of transformers, not wrapped; its class says which layers have to stay in float32.
        weights: its state; None takes the model's own.
        dtype: narrower or wider than that of the weights.

    Returns:
        name -> tensor. Tensors that share memory still do, so that tied weights are written once.
    """
    state = model.state_dict() if weights is None else weights
    # The same rule as in loading: layers that bfloat16 serves as well are only exempt from float16.
    parts = {*(model._keep_in_fp32_modules_strict or ())}
    parts |= {*(model._keep_in_fp32_modules or ())} if dtype == torch.float16 else set()
    exempt = [re.compile(rf"(^|\.){re.escape(part)}(\.|$)") for part in sorted(parts)]
    rounded: dict[tuple[int, torch.Size, tuple[int, ...]], Tensor] = {}
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if not tensor.is_floating_point() or any(part.search(name) for part in exempt):
            found[name] = tensor
            continue
        place = (tensor.data_ptr(), tensor.shape, tensor.stride())
        if place not in rounded:
            rounded[place] = tensor.detach().to("cpu", dtype)
        found[name] = rounded[place]
    return None if weights is None and all(found[name].dtype == state[name].dtype for name in state) else found


def state_type(folder: Path, dtype: torch.dtype) -> None:
    """Let config.json state the type that the weights have (transformers writes that of the model in memory)."""
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    for part in (config, *(value for value in config.values() if isinstance(value, dict))):
        for key in ("dtype", "torch_dtype"):
            if part.get(key) is not None:
                part[key] = str(dtype).removeprefix("torch.")
    path.write_text(json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def describe_saved_type(settings: Optimisation, saved: torch.dtype, trained: torch.dtype) -> list[str]:
    """A sentence where weights are rounded to be saved without having been asked for; else none.

    Args:
        settings: of the training.
        saved: type on disk.
        trained: type in memory.
    """
    if settings.save_type != "auto" or saved == trained:
        return []
    short, long = (str(each).removeprefix("torch.") for each in (saved, trained))
    return [f"saved as {short}, like the model it was trained from (trained in {long}, which save_type: {long} keeps)"]
