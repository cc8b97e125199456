"""Fused kernels for a model's layers, from liger-kernel, where it has them."""

from __future__ import annotations

from typing import Any

from prefboost.errors import SettingsError
from prefboost.training.optimisation import Optimisation

__all__ = ["put_liger_kernels"]


def put_liger_kernels(model: Any, settings: Optimisation, device_type: str) -> None:
    """Exchange the layers of a model (norms, rotary embeddings, gated units) for fused ones, if the settings say so.

    The output layer and the loss stay: both are computed here, chunk by chunk. Call it before the model is hashed or
    tried, so that the reference and the packed forward have the same kernels.

    Args:
        model: of transformers.
        settings: of the training.
        device_type: of the device that will train.

    Raises:
        SettingsError: there is no GPU, or liger-kernel does not know the architecture.
    """
    if not settings.liger_kernel:
        return
    if device_type == "cpu":
        raise SettingsError(
            "liger_kernel: its kernels run on GPUs, and there is none here", remedy="leave liger_kernel out"
        )
    from liger_kernel.transformers.monkey_patch import (
        MODEL_TYPE_TO_APPLY_LIGER_FN,
        _apply_liger_kernel_to_instance,
    )

    architecture = model.config.model_type
    # It would only log that it has done nothing.
    if architecture not in MODEL_TYPE_TO_APPLY_LIGER_FN:
        raise SettingsError(
            f"liger_kernel: there are no kernels for {architecture}; there are for "
            f"{', '.join(sorted(MODEL_TYPE_TO_APPLY_LIGER_FN))}",
            remedy="leave liger_kernel out",
        )
    # Fused losses would replace the forward, and with it what computes log-probs.
    _apply_liger_kernel_to_instance(model=model, fused_linear_cross_entropy=False, cross_entropy=False)
