"""The number type in which a trained model is saved: by default that of the model it was trained from.

Training keeps weights in float32 so that small updates add up; a checkpoint of a bfloat16 model does not need four
bytes per weight. Weights are rounded once, when they are written; those in memory stay as they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from prefboost.engines.models.loading_faults import explain_loading
from prefboost.engines.models.packaged import model_folder
from prefboost.training.adapters import adapter_chain
from prefboost.training.optimisation import Optimisation

__all__ = [
    "Rounding",
    "base_type",
    "choose_saved_type",
    "round_weights",
    "record_weight_type",
]

_SAMPLED = 1024
"""Values of a tensor that are looked at."""


def choose_saved_type(settings: Optimisation, trained: torch.dtype) -> torch.dtype:
    """Choose the type to save in: ``settings.save_type``, or for ``auto`` the base's, if narrower than in training.

    Adapters that are saved alone (``lora.merge: false``) keep the type in which they were trained: they are small.

    Args:
        settings: of the training.
        trained: type of the weights in memory.

    Raises:
        ModelError: the configuration of the model cannot be read.
    """
    if settings.save_type != "auto":
        chosen: torch.dtype = getattr(torch, settings.save_type)
        return chosen
    # A narrower type would save a few megabytes, and round an update that is small to begin with.
    if settings.lora is not None and not settings.lora.merge:
        return trained
    base = base_type(settings.model, settings.revision, trust_remote_code=settings.trust_remote_code)
    return trained if base is None or base.itemsize >= trained.itemsize else base


def base_type(name: str, revision: str | None = None, *, trust_remote_code: bool = False) -> torch.dtype | None:
    """Return the type that a checkpoint states, or that of its weights; None where neither is a float of 16 to 64 bits.

    Args:
        name: a folder, a hub id, or ``package:NAME``; of an adapter the base counts.
        revision: branch, tag or commit of a hub id.
        trust_remote_code: run code that the checkpoint brings.

    Raises:
        ModelError: there is no such model.
    """
    from safetensors import safe_open
    from transformers import AutoConfig

    name, adapters = adapter_chain(name, revision)
    revision = None if adapters else revision
    with explain_loading(name):
        config = AutoConfig.from_pretrained(
            model_folder(name), revision=revision or "main", trust_remote_code=trust_remote_code
        )
    # Configurations of models with several parts state the type in the text part only.
    stated = config.dtype or config.get_text_config().dtype
    if not stated:
        # Then the type of the first tensor counts, by its name in torch.
        names = {"BF16": "bfloat16", "F16": "float16", "F32": "float32", "F64": "float64"}
        for path in sorted(Path(model_folder(name)).glob("*.safetensors"))[:1]:
            with explain_loading(str(path.parent)), safe_open(path, framework="pt") as weights:
                stated = names.get(next((weights.get_slice(key).get_dtype() for key in weights.keys()), ""))  # noqa: SIM118
    dtype = getattr(torch, stated.removeprefix("torch."), None) if isinstance(stated, str) else stated
    return dtype if dtype in (torch.bfloat16, torch.float16, torch.float32, torch.float64) else None


def round_weights(model: Any, weights: Mapping[str, Tensor] | None, dtype: torch.dtype) -> dict[str, Tensor] | None:
    """Convert weights to the type to save, on the CPU; None where the model's own have it already.

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
    to_save: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if not tensor.is_floating_point() or any(part.search(name) for part in exempt):
            to_save[name] = tensor
            continue
        # Tied weights are one tensor under two names; converted apart, they would be stored twice.
        place = (tensor.data_ptr(), tensor.shape, tensor.stride())
        if place not in rounded:
            # On the CPU, since a second copy beside the optimiser's state may not fit on the device.
            rounded[place] = tensor.detach().to("cpu", dtype)
        to_save[name] = rounded[place]
    unchanged = all(to_save[name].dtype == state[name].dtype for name in state)
    return None if weights is None and unchanged else to_save


def record_weight_type(folder: Path, dtype: torch.dtype) -> None:
    """Let config.json state the type that the weights have (transformers writes that of the model in memory)."""
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    for part in (config, *(value for value in config.values() if isinstance(value, dict))):
        for key in ("dtype", "torch_dtype"):
            if part.get(key) is not None:
                part[key] = str(dtype).removeprefix("torch.")
    path.write_text(json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Rounding:
    """The effect of saving in a narrower type, in numbers.

    Args:
        saved: type on disk.
        trained: type in memory.
        sample: name -> some values before training; empty where nothing is to be said.
    """

    saved: torch.dtype
    trained: torch.dtype
    sample: Mapping[str, Tensor]

    @classmethod
    def before(cls, model: Any, settings: Optimisation, saved: torch.dtype) -> Rounding:
        """Keep at most 1,024 evenly spaced values of every weight tensor, if weights will be rounded unasked.

        Args:
            model: of transformers, not wrapped, not trained yet.
            settings: of the training.
            saved: type on disk.
        """
        # Whoever names a type has asked for the rounding, and needs no sentence about it.
        rounds = settings.save_type == "auto" and saved != model.dtype
        state = model.state_dict() if rounds else {}
        return cls(saved, model.dtype, {name: _sample_weight(weight) for name, weight in state.items()})

    def describe(self, model: Any) -> list[str]:
        """Say that weights are rounded, and how many of those that training changed are saved as they were before.

        Args:
            model: the same, trained; None where its weights are parted among devices.

        Returns:
            a sentence, or none where weights are saved as they were trained or as they were asked for.
        """
        if not self.sample:
            return []
        short, long = (str(each).removeprefix("torch.") for each in (self.saved, self.trained))
        lost = None if model is None else self.share_lost(model.state_dict())
        share = "" if lost is None else f", and {lost:.0%} of the weights that training changed are rounded back"
        return [f"saved as {short}, like the model it was trained from{share} (save_type: {long} keeps every bit)"]

    def share_lost(self, trained: Mapping[str, Tensor]) -> float | None:
        """Compute the share of the changed weights that are rounded back to what they were before training.

        Args:
            trained: state of the model after training.

        Returns:
            0 to 1, of the sampled weights; None where none was changed (adapters were).
        """
        changed = lost = 0
        for name, first in self.sample.items():
            if name in trained:
                last = _sample_weight(trained[name])
                # Compared in the narrow type: a weight is lost if both values round to the same number.
                moved = last != first
                changed += int(moved.sum())
                lost += int((moved & (last.to(self.saved) == first.to(self.saved))).sum())
        return lost / changed if changed else None


def _sample_weight(weight: Tensor) -> Tensor:
    flat = weight.detach().flatten()
    # A copy: the weights themselves change under it in training.
    return flat[:: max(1, flat.numel() // _SAMPLED)][:_SAMPLED].to("cpu", copy=True)
