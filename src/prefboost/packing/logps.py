"""Log-probs of completions from a packed stream, through the model's own forward."""

from __future__ import annotations

from collections.abc import Sequence
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from prefboost.losses.completion_logps import compute_row_logps, find_body, sum_by_sequence
from prefboost.losses.rope_by_length import RopeGroup, apply_rope_groups
from prefboost.losses.router_balance import compute_balance
from prefboost.packing.attention import build_dense_mask, name_implementation, register_attention
from prefboost.packing.blocked import CHECKPOINTED
from prefboost.packing.head import compute_token_logps, read_head
from prefboost.packing.lengths import part_by_length
from prefboost.packing.stream import Packed

__all__ = ["enable_packing", "compute_end_states", "compute_packed_logps"]


def enable_packing(model: Any, *, dense: bool = False) -> None:
    """Let ``model(packed=Packed)`` return log-probs [S] of completions; with ``balance=True`` also the balance of a
    mixture's experts (`prefboost.losses.router_balance`).

    The call goes through the model's own forward, so that wrappers (DDP, FSDP, autocast, adapters) see it. Other calls
    are computed as before. Enabling it again only changes ``dense``.

    Args:
        model: a causal language model of transformers, not wrapped.
        dense: hand the model a mask of the whole stream [T, T] instead; for older models, which do not compute
            attention through transformers' interface. `probe_support` finds out.
    """
    register_attention()
    before = getattr(model, "_packing", None)
    model._packing = "dense" if dense else "interface"
    if not dense and not model.config._attn_implementation.startswith("prefboost_packed"):
        model.set_attn_implementation(name_implementation(model.config._attn_implementation))
    if before is not None:
        return
    original = model.forward

    @wraps(original)
    def forward(*args: Any, packed: Packed | None = None, **kwargs: Any) -> Any:
        if packed is None:
            return original(*args, **kwargs)
        return _balanced_logps(model, packed) if kwargs.get("balance") else compute_packed_logps(model, packed)

    model.forward = forward


def compute_packed_logps(model: Any, packed: Packed) -> Tensor:
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
    return _logps(model, packed, output.last_hidden_state[0]), compute_balance(model, output, packed.uses)


def _logps(model: Any, packed: Packed, hidden: Tensor) -> Tensor:
    wanted = hidden.index_select(0, packed.source)
    head = read_head(model)
    tokens = (
        compute_row_logps(model, wanted, packed.targets)
        if head is None
        else compute_token_logps(wanted, packed.targets, head)
    )
    return sum_by_sequence(tokens.index_select(0, packed.item), packed.owner, packed.sequences)


def compute_end_states(model: Any, packed: Packed) -> Tensor:
    """Hidden state at the last token fed of each sequence, after the final norm; for heads that judge whole texts.

    Returns:
        [S, H]; differentiable where gradients are on.
    """
    packed, groups = part_by_length(model, packed)
    hidden: Tensor = _run(model, packed, groups).last_hidden_state[0]
    return hidden.index_select(0, packed.ends)


def _run(model: Any, packed: Packed, groups: Sequence[RopeGroup], **more: Any) -> Any:
    """The output of the model's body; last_hidden_state is [1, T, H]."""
    packed.cache[CHECKPOINTED] = _recomputes(model)
    arguments: dict[str, Any] = {"input_ids": packed.input_ids[None], "position_ids": packed.position_ids[None]}
    if model._packing == "interface":
        # A mask of four dimensions is taken as made: none is built.
        arguments |= {"attention_mask": torch.zeros(1, 1, 1, 1, device=packed.input_ids.device), "packed": packed}
    else:
        arguments["attention_mask"] = build_dense_mask(packed, next(model.parameters()).dtype)
    with apply_rope_groups(model, groups):
        return find_body(model)(use_cache=False, **arguments, **more)


def _recomputes(model: Any) -> bool:
    """Whether a layer checkpoints its activations: transformers' way, or wrapped as FSDP's plugin does."""
    return any(
        getattr(module, "gradient_checkpointing", False) or type(module).__name__ == "CheckpointWrapper"
        for module in model.modules()
    )
