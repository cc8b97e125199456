"""Tiny random models of many architectures, and arithmetic that stays in double precision throughout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

VOCABULARY = 61
WINDOW = 6

SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
EXPERTS = {"num_local_experts": 4, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
SLIDING = {"sliding_window": WINDOW, "layer_types": ["sliding_attention", "full_attention"]}

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {},
    "qwen3": {},
    "qwen3_moe": EXPERTS | {"decoder_sparse_step": 1},
    "mistral": {"sliding_window": WINDOW},
    "ministral": SLIDING,
    "mixtral": EXPERTS,
    "gemma2": SLIDING | {"attn_logit_softcapping": 5.0, "final_logit_softcapping": 3.0, "query_pre_attn_scalar": 8},
    "gemma3_text": SLIDING | {"query_pre_attn_scalar": 8},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128},
    "gpt_neox": {},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32, "dropout": 0.0},
    "phi": {},
    "phi3": {},
    "gpt_oss": EXPERTS | SLIDING,
    "cohere2": SLIDING | {"logit_scale": 0.5},
    "granite": {"logits_scaling": 2.0},
    "olmo2": {},
    "olmo3": SLIDING,
    "starcoder2": {},
    "smollm3": {"no_rope_layers": [1, 0]},
    "glm4": {},
    "exaone4": SLIDING,
    "seed_oss": {},
    "ernie4_5": {},
    "hunyuan_v1_dense": {},
    "llama4_text": {
        **EXPERTS,
        "intermediate_size_mlp": 48,
        "attention_chunk_size": WINDOW,
        "layer_types": ["chunked_attention", "full_attention"],
    },
    "deepseek_v3": {
        "q_lora_rank": 16,
        "kv_lora_rank": 16,
        "qk_rope_head_dim": 8,
        "qk_nope_head_dim": 8,
        "v_head_dim": 8,
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
        "n_group": 1,
        "topk_group": 1,
        "first_k_dense_replace": 1,
        "moe_intermediate_size": 24,
        "num_key_value_heads": 4,
    },
}
"""Architectures that share, with what a tiny model of them needs beyond the common sizes."""

DENSE: dict[str, dict[str, Any]] = {
    "falcon": {"alibi": False, "num_kv_heads": 4, "head_dim": None},
    "stablelm": {},
    "nemotron": {},
}
"""Older architectures, which share through a dense mask."""

OTHERS: dict[str, dict[str, Any]] = {
    "mamba": {"state_size": 4},
    "bloom": {"n_head": 4, "n_layer": 2},
    "mpt": {"d_model": 32, "n_heads": 4, "n_layers": 2},
    "lfm2": {"layer_types": ["conv", "full_attention"], "block_auto_adjust_ff_dim": False},
    "qwen3_next": EXPERTS | {"layer_types": ["linear_attention", "full_attention"]},
}
"""Architectures that do not share, or not through the attention interface."""


def tiny_model(kind: str, seed: int = 0, **changes: Any) -> Any:
    """A random model of an architecture, in eval mode; ``changes`` of its configuration."""
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = {**SIZES, **(ARCHITECTURES | DENSE | OTHERS)[kind], **changes}
    config = AutoConfig.for_model(kind, **{name: size for name, size in sizes.items() if size is not None})
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config).eval()
    config._experts_implementation = "eager"  # grouped matrix products have no float64 kernel
    return model


class KeepDouble(TorchFunctionMode):
    """Where a model's own code turns to float32 for precision, it stays in float64."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        double = bool(args) and isinstance(args[0], torch.Tensor) and args[0].dtype == torch.float64
        if double and func is torch.Tensor.float:
            return args[0]
        if double and torch.float32 in args:
            args = tuple(torch.float64 if value is torch.float32 else value for value in args)
        if double and kwargs.get("dtype") is torch.float32:
            kwargs["dtype"] = torch.float64
        return func(*args, **kwargs)
