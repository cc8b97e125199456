"""Models with random weights, for sizes that no package holds, and what the device can do at best."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

__all__ = ["RANDOM", "check_varlen_causality", "matmul_rate", "random_model"]

RANDOM: dict[str, dict[str, Any]] = {
    "LLAMA-1B": {
        "model_type": "llama",
        "vocab_size": 128256,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "tie_word_embeddings": True,
    },
    "QWEN-1.5B": {
        "model_type": "qwen2",
        "vocab_size": 151936,
        "hidden_size": 1536,
        "intermediate_size": 8960,
        "num_hidden_layers": 28,
        "num_attention_heads": 12,
        "num_key_value_heads": 2,
        "tie_word_embeddings": True,
    },
    "GROWTH": {
        "model_type": "llama",
        "vocab_size": 8192,
        "hidden_size": 256,
        "intermediate_size": 768,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "tie_word_embeddings": True,
    },
    "TINY": {
        "model_type": "llama",
        "vocab_size": 1024,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "tie_word_embeddings": True,
    },
}
"""Shapes of Llama-3.2-1B and Qwen2-1.5B, a small one, and one to see that everything runs."""


def random_model(shape: str, **changed: Any) -> Any:
    """A causal language model of a shape, float32, the same weights at every call."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    options = RANDOM[shape] | changed
    config = AutoConfig.for_model(**options, max_position_embeddings=4096)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.config._name_or_path = shape
    return model


def matmul_rate(device: str, precision: str = "bf16", size: int | None = None) -> float:
    """Floating-point operations a second of a large square matrix product: what the device gives at best.

    Args:
        device: cpu or cuda.
        precision: bf16 or fp32.
        size: rows and columns; by default as many as take some tenths of a second: a CPU without bf16 units would
            multiply matrices of 2,048 for minutes.
    """
    import torch

    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    wait = torch.cuda.synchronize if device == "cuda" else (lambda: None)
    largest = 8192 if device == "cuda" else 2048
    sizes = [size] if size else [each for each in (256, 512, 1024, 2048, 4096, 8192) if each <= largest]
    rate = 0.0
    for each in sizes:
        left, right = (torch.randn(each, each, device=device, dtype=dtype) for _ in range(2))
        best, began = float("inf"), time.perf_counter()
        for _ in range(5):
            wait()
            begin = time.perf_counter()
            left @ right
            wait()
            best = min(best, time.perf_counter() - begin)
            if time.perf_counter() - began > 1.0:
                break
        rate = max(rate, 2 * each**3 / best)
        if time.perf_counter() - began > 0.2:
            break  # the next one takes eight times as long
    return rate


def check_varlen_causality() -> float:
    """Assert that torch's variable-length attention aligns its causal mask to the bottom right: the last query sees
    every key. Returns the largest difference from plain attention with that mask.

    Raises:
        AssertionError: it does not.
    """
    import torch
    from torch.nn.attention.varlen import varlen_attn

    torch.manual_seed(0)
    queries, keys = [5, 7, 1], [9, 7, 130]
    query, (key, value) = (
        torch.randn(sum(queries), 4, 64, device="cuda", dtype=torch.bfloat16),
        torch.randn(2, sum(keys), 4, 64, device="cuda", dtype=torch.bfloat16),
    )
    starts = [torch.tensor([0, *lengths], device="cuda").cumsum(0).int() for lengths in (queries, keys)]
    found = varlen_attn(query, key, value, *starts, max(queries), max(keys), window_size=(-1, 0))
    worst = 0.0
    for number, (rows, columns) in enumerate(zip(queries, keys, strict=True)):
        at = slice(starts[0][number], starts[0][number + 1])
        over = slice(starts[1][number], starts[1][number + 1])
        seen = torch.ones(rows, columns, device="cuda", dtype=torch.bool).tril(columns - rows)
        expected = torch.nn.functional.scaled_dot_product_attention(
            *(part.transpose(0, 1).float() for part in (query[at], key[over], value[over])), attn_mask=seen
        ).transpose(0, 1)
        worst = max(worst, float((found[at].float() - expected).abs().max()))
    assert worst < 0.03, f"varlen_attn is not causal from the bottom right: off by {worst}"
    return worst


def main() -> None:
    """Print, as JSON, the rates of matrix products by number type, and on CUDA how far varlen attention is off."""
    device = sys.argv[1]
    found = {kind: matmul_rate(device, kind) for kind in ("bf16", "fp32")}
    if device == "cuda":
        found["varlen"] = check_varlen_causality()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
