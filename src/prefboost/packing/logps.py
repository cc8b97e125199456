"""Log-probs of completions from a packed stream, through the model's own forward."""

from __future__ import annotations

from collections.abc import Sequence
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from prefboost.losses.completion_logps import body_of, logps_of_rows, summed
from prefboost.losses.rope_by_length import Group, rope_groups
from prefboost.losses.router_balance import balance_of
from prefboost.packing.attention import dense_mask, implementation, register
from prefboost.packing.blocked import RECOMPUTED
from prefboost.packing.head import head_of, token_logps
from prefboost.packing.lengths import part_by_length
from prefboost.packing.stream import Packed

__all__ = ["enable_packing", "packed_ends", "packed_logps"]


def enable_packing(model: Any, *, dense: bool = False) -> None:
    """Let ``model(packed=Packed)`` return log-probs [S] of completions; with ``balance=True`` also the balance of a
    mixture's experts (`prefboost.losses.router_balance`).

    The call goes through the model's own forward, so that wrappers (DDP, FSDP, autocast, adapters) see it. Other calls
    are computed as before. Enabling it again only changes ``dense``.

    Args:
        model: a causal language model of transformers, not wrapped.
        dense: hand the model a mask of the whole stream [T, T] instead; for older models, which do not compute
            attention through transformers' interface. `support_of` finds out.
    """
    register()
    before = getattr(model, "_packing", None)
    model._packing = "dense" if dense else "interface"
    if not dense and not model.config._attn_implementation.startswith("prefboost_packed"):
        model.set_attn_implementation(implementation(model.config._attn_implementation))
    if before is not None:
        return
    original = model.forward

    @wraps(original)
    def forward(*args: Any, packed: Packed | None = None, **kwargs: Any) -> Any:
        if packed is None:
            return original(*args, **kwargs)
        return _balanced_logps(model, packed) if kwargs.get("balance") else packed_logps(model, packed)

    model.forward = forward


def packed_logps(model: Any, packed: Packed) -> Tensor:
    """Log-prob of each completion given its prompt, summed over the completion's tokens.

    Args:
        model: with `enable_packing`.
        packed: S sequences, on the model's device.

    Returns:
        [S], float32 (float64 for float64 models), nats; differentiable where gradients are on.
    """
    packed, groups = part_by_length(model, packed)
    return _logps(model, packed, _run(model, packed, groups).last_hidden_state[0])


def _balanced_logps(model: Any, packed: Packed) -> tuple[Tensor, Tensor]:
    """The same, and the balance of a mixture's experts, a token counting for every sequence through it."""
    packed, groups = part_by_length(model, packed)
    output = _run(model, packed, groups, output_router_logits=True)
    return _logps(model, packed, output.last_hidden_state[0]), balance_of(model, output, packed.uses)


def _logps(model: Any, packed: Packed, hidden: Tensor) -> Tensor:
    wanted = hidden.index_select(0, packed.source)
    head = head_of(model)
    tokens = logps_of_rows(model, wanted, packed.targets) if head is None else token_logps(wanted, packed.targets, head)
    return summed(tokens.index_select(0, packed.item), packed.owner, packed.sequences)


def packed_ends(model: Any, packed: Packed) -> Tensor:
    """Hidden state at the last token fed of each sequence, after the final norm; for heads that judge whole texts.

    Returns:
        [S, H]; differentiable where gradients are on.
    """
    packed, groups = part_by_length(model, packed)
    hidden: Tensor = _run(model, packed, groups).last_hidden_state[0]
    return hidden.index_select(0, packed.ends)


def _run(model: Any, packed: Packed, groups: Sequence[Group], **more: Any) -> Any:
    """The output of the model's body; last_hidden_state is [1, T, H]."""
    packed.made[RECOMPUTED] = _recomputes(model)
    arguments: dict[str, Any] = {"input_ids": packed.input_ids[None], "position_ids": packed.position_ids[None]}
    if model._packing == "interface":
        # A mask of four dimensions is taken as made: none is built.
        arguments |= {"attention_mask": torch.zeros(1, 1, 1, 1, device=packed.input_ids.device), "packed": packed}
    else:
        arguments["attention_mask"] = dense_mask(packed, next(model.parameters()).dtype)
    with rope_groups(model, groups):
        return body_of(model)(use_cache=False, **arguments, **more)


def _recomputes(model: Any) -> bool:
    """Whether a layer checkpoints its activations: transformers' way, or wrapped as FSDP's plugin does."""
    return any(
        getattr(module, "gradient_checkpointing", False) or type(module).__name__ == "CheckpointWrapper"
        for module in model.modules()
    )
