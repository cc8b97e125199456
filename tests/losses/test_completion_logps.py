"""Log-probs of completions equal those of the model's own logits."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from prefboost.losses.completion_logps import batch_by_length, compute_logps, pad_sequences

PROMPTS = [[5, 6, 7], [8], [9, 10, 11, 12, 13]]
COMPLETIONS = [[20, 21], [22, 23, 24, 25], [26]]


def tiny(kind: str = "llama", **changes: Any) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    sizes = {
        "vocab_size": 64,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "initializer_range": 0.3,
        "pad_token_id": 0,
    }
    config = AutoConfig.for_model(kind, **(sizes | changes))
    return AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()


def naive(model: Any, prompt: list[int], completion: list[int]) -> torch.Tensor:
    ids = torch.tensor([prompt + completion])
    logits = model(input_ids=ids, use_cache=False).logits[0, :-1].float().log_softmax(-1)
    return logits[torch.arange(len(ids[0]) - 1), ids[0, 1:]][len(prompt) - 1 :].sum()


@pytest.mark.parametrize("kind", ["llama", "gemma2", "qwen2", "cohere", "granite"])
def test_log_probs_equal_the_naive_ones_in_every_architecture(kind: str) -> None:
    changes = {"cohere": {"logit_scale": 0.25}, "granite": {"logits_scaling": 3.0}}.get(kind, {})
    model = tiny(kind, **changes)
    result = compute_logps(model, **pad_sequences(PROMPTS, COMPLETIONS, 0))
    expected = [naive(model, *pair) for pair in zip(PROMPTS, COMPLETIONS, strict=True)]
    torch.testing.assert_close(result, torch.stack(expected), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("chunk", [1, 2, 512])
def test_gradients_do_not_depend_on_the_chunk_of_the_head(chunk: int) -> None:
    model = tiny()
    sum(naive(model, *pair) for pair in zip(PROMPTS, COMPLETIONS, strict=True)).backward()  # type: ignore[union-attr]
    expected = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    model.zero_grad()
    compute_logps(model, **pad_sequences(PROMPTS, COMPLETIONS, 0), head_chunk=chunk).sum().backward()
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight.grad, expected[name], atol=1e-5, rtol=1e-4)


def test_batches_hold_every_index_once_and_few_enough_tokens() -> None:
    lengths = [3, 9, 1, 4, 4, 30]
    batches = batch_by_length(lengths, 10)
    assert sorted(index for batch in batches for index in batch) == list(range(6))
    assert all(len(batch) == 1 or max(lengths[i] for i in batch) * len(batch) <= 10 for batch in batches)
