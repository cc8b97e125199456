"""The model that log-probs are compared with, ready to compute them on this device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prefboost.errors import RunError
from prefboost.packing import enable_packing, probe_support
from prefboost.training.engine.preparation import switch_off_dropout
from prefboost.training.policy.model import load_model
from prefboost.training.policy.settings import Train
from prefboost.training.reference.forward import hash_of_model

__all__ = ["Reference", "load_reference", "place_start"]


@dataclass(frozen=True)
class Reference:
    """A model that log-probs are compared with.

    Args:
        model: on the device.
        weights_hash: of the weights as they were loaded (`hash_of_model`).
        parted: devices hold parts of the weights, so that they must compute in step.
    """

    model: Any
    weights_hash: str
    parted: bool = False


def place_start(model: Any, weights_hash: str, settings: Train, accelerator: Any) -> Reference:
    """Place the policy as it is before training, its adapters (if any) to be switched off, on the device.

    Under FSDP transformers parts the policy among the devices only when training begins, and one device may be too
    small for all of it: it is loaded a second time, and parted. Adapters have no second copy: their frozen base is it.

    Args:
        model: the policy, with its adapters.
        weights_hash: of the weights as they were loaded.
        settings: of the training.
        accelerator: of accelerate.
    """
    if accelerator.distributed_type.value != "FSDP" or settings.lora is not None:
        return Reference(model.to(accelerator.device), weights_hash)
    copy = load_model(settings, settings.model)
    switch_off_dropout(copy)
    if settings.engine == "packed":
        enable_packing(copy)
    if accelerator.is_fsdp2:
        from accelerate.utils import fsdp2_prepare_model

        copy = fsdp2_prepare_model(accelerator, copy)
    else:
        copy = accelerator.prepare_model(copy)
    return Reference(copy.eval(), weights_hash, parted=True)


def load_reference(settings: Train, accelerator: Any) -> Reference:
    """Load another model than the start (``settings.reference``) onto the device, ready for the engine.

    Raises:
        RunError: the engine cannot run it.
        ModelError: it cannot be loaded.
    """
    model = load_model(settings, settings.reference)
    weights_hash = hash_of_model(model)
    model = model.to(accelerator.device).eval()
    support = probe_support(model) if settings.engine == "packed" else None
    if support is not None and not support.ok:
        raise RunError(
            f"the reference {settings.reference!r} cannot be packed: {support.reason}",
            remedy="write train.engine: padded, or use another reference",
        )
    return Reference(model, weights_hash)
