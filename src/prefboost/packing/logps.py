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
    """Make ``model(packed=Packed)`` return log-probs [S] of completions.

    With ``balance=True`` it also returns the balance of a mixture's experts (`prefboost.losses.router_balance`).

    The call goes through the model's own forward, so that wrappers (DDP, FSDP, autocast, adapters) see it. Other calls
    are computed as before. A second call only changes ``dense``.

    Args:
        model: a causal language model of transformers, not wrapped.
        dense: give the model a mask of the whole stream [T, T], for older models, which do not compute attention
            through transformers' interface. `probe_support` chooses.
    """
    register_attention()
    # A forward that is wrapped twice would dispatch twice, hence the mark.
    is_enabled = hasattr(model, "_packing")
    model._packing = "dense" if dense else "interface"
    if not dense and not model.config._attn_implementation.startswith("prefboost_packed"):
        model.set_attn_implementation(name_implementation(model.config._attn_implementation))
    if is_enabled:
        return
    original = model.forward

    @wraps(original)
    def forward(*args: Any, packed: Packed | None = None, **kwargs: Any) -> Any:
        if packed is None:
            return original(*args, **kwargs)
        if not kwargs.get("balance"):
            return compute_packed_logps(model, packed)
        packed, groups = part_by_length(model, packed)
        output = _run_body(model, packed, groups, output_router_logits=True)
        # A token counts for every sequence through it.
        balance = compute_balance(model, output, packed.uses)
        return _score_completions(model, packed, output.last_hidden_state[0]), balance

    model.forward = forward


def compute_packed_logps(model: Any, packed: Packed) -> Tensor:
    """Compute the log-prob of each completion given its prompt, summed over the completion's tokens.

    Args:
        model: with `enable_packing`.
        packed: S sequences, on the model's device.

    Returns:
        [S], float32 (float64 for float64 models), nats; differentiable where gradients are on.
    """
    packed, groups = part_by_length(model, packed)
    return _score_completions(model, packed, _run_body(model, packed, groups).last_hidden_state[0])


def _score_completions(model: Any, packed: Packed, hidden: Tensor) -> Tensor:
    """Turn hidden states [T, H] into log-probs [S]; the head runs on C rows, each once however often it counts."""
    hidden = hidden.index_select(0, packed.source)
    head = read_head(model)
    if head is None:
        logps = compute_row_logps(model, hidden, packed.targets)
    else:
        logps = compute_token_logps(hidden, packed.targets, head)
    return sum_by_sequence(logps.index_select(0, packed.item), packed.owner, packed.sequences)


def compute_end_states(model: Any, packed: Packed) -> Tensor:
    """Compute the hidden state at the last token fed of each sequence, after the final norm.

    Heads of reward models score whole texts from it.

    Returns:
        [S, H]; differentiable where gradients are on.
    """
    packed, groups = part_by_length(model, packed)
    hidden: Tensor = _run_body(model, packed, groups).last_hidden_state[0]
    return hidden.index_select(0, packed.ends)


def _run_body(model: Any, packed: Packed, groups: Sequence[RopeGroup], **options: Any) -> Any:
    """Run the model without its head; last_hidden_state of the output is [1, T, H]."""
    # A layer checkpoints its activations in transformers' way, or is wrapped as FSDP's plugin does.
    packed.cache[CHECKPOINTED] = any(
        getattr(module, "gradient_checkpointing", False) or type(module).__name__ == "CheckpointWrapper"
        for module in model.modules()
    )
    arguments: dict[str, Any] = {"input_ids": packed.input_ids[None], "position_ids": packed.position_ids[None]}
    if model._packing == "interface":
        # transformers builds a causal mask [T, T] unless it gets one of four dimensions, which it passes on unchanged.
        arguments |= {"attention_mask": torch.zeros(1, 1, 1, 1, device=packed.input_ids.device), "packed": packed}
    else:
        arguments["attention_mask"] = build_dense_mask(packed, next(model.parameters()).dtype)
    # The stream is one row, so that groups of rotary frequencies divide tokens here, not rows.
    with apply_rope_groups(model, groups):
        return find_body(model)(use_cache=False, **arguments, **options)
