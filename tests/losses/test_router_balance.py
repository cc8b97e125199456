"""The balance of a mixture's experts is transformers' own, whatever is shared."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_models import VOCABULARY, tiny_model

from prefboost.errors import ModelError, SettingsError
from prefboost.losses.completion_logps import compute_balanced_logps, compute_logps, pad_sequences
from prefboost.losses.router_balance import choose_balance_weight, compute_balance
from prefboost.packing import enable_packing, pack


def _texts() -> tuple[list[list[int]], list[list[int]]]:
    draw = torch.Generator().manual_seed(0)
    tokens = [torch.randint(3, VOCABULARY, (count,), generator=draw).tolist() for count in (6, 9, 5, 1)]
    return [tokens[0], tokens[0], tokens[0][:3]], tokens[1:]


@pytest.mark.parametrize("kind", ["mixtral", "qwen3_moe"])
def test_the_balance_of_padded_sequences_is_the_models_own(kind: str) -> None:
    model = tiny_model(kind)
    padded = pad_sequences(*_texts(), 0)
    with torch.no_grad():
        logps, result = compute_balanced_logps(model, **padded)
        rows_of_model = model(padded["input_ids"], attention_mask=padded["attention_mask"], output_router_logits=True)
    torch.testing.assert_close(result, rows_of_model.aux_loss)
    torch.testing.assert_close(logps, compute_logps(model, **padded))


@pytest.mark.parametrize("kind", ["mixtral", "qwen3_moe", "gpt_oss"])
def test_a_shared_token_counts_for_every_sequence_through_it(kind: str) -> None:
    """The last token of a completion is never fed to a stream; without it both are equal, gradients too."""
    model = tiny_model(kind)
    enable_packing(model)
    prompts, completions = _texts()
    packed = pack(prompts, completions, min_shared=1)
    assert packed.tokens < packed.unshared_tokens == int(packed.uses.sum())
    fed = pad_sequences(prompts, [completion[:-1] for completion in completions], 0)
    result, slopes = [], []
    for logps, balance in (model(packed=packed, balance=True), compute_balanced_logps(model, **fed)):
        model.zero_grad()
        balance.backward()
        result.append(balance.detach())
        slopes.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
        assert logps.shape == (3,)
    torch.testing.assert_close(result[0], result[1], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(slopes[0], slopes[1], rtol=1e-3, atol=1e-6)
    assert slopes[0].abs().max() > 1e-4


def test_the_weight_is_the_architectures_unless_another_is_asked_for() -> None:
    model = tiny_model("mixtral", router_aux_loss_coef=0.02)
    assert [choose_balance_weight(model, requested) for requested in (None, 0.0, 0.5)] == [0.02, 0.0, 0.5]
    assert choose_balance_weight(tiny_model("llama"), None) == 0.0
    with pytest.raises(SettingsError, match="LlamaForCausalLM is not a mixture of experts"):
        choose_balance_weight(tiny_model("llama"), 0.5)


def test_a_model_that_does_not_say_how_it_routes_is_refused_by_name() -> None:
    class Silent:
        router_logits: Any = None

    with pytest.raises(ModelError, match="MixtralForCausalLM does not return the routing of its tokens"):
        compute_balance(tiny_model("mixtral"), Silent(), torch.ones(3))
