"""What can be packed is found out by trying, and what cannot says why."""

from __future__ import annotations

import pytest
import torch
from tiny_models import DENSE, VOCABULARY, tiny_model

from prefboost.packing import enable_packing, evaluation_mode, measure_difference, probe_support


@pytest.mark.parametrize(
    ("kind", "backend"), [("llama", "blocked"), ("gemma2", "eager"), *((k, "dense") for k in DENSE)]
)
def test_the_way_of_attending_is_named(kind: str, backend: str) -> None:
    support = probe_support(tiny_model(kind))
    assert (support.ok, support.backend, support.reason) == (True, backend, "")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("mamba", "MambaForCausalLM cannot be run over a packed stream"),
        ("bloom", "BloomForCausalLM cannot be run over a packed stream"),
        ("mpt", "MptForCausalLM gives other log-probs"),
        ("lfm2", "Lfm2ForCausalLM attends in 1 of 2 layers"),
        ("qwen3_next", "Qwen3NextForCausalLM attends in 1 of 2 layers"),
    ],
)
def test_what_mixes_tokens_in_another_way_is_refused_and_works_as_before(kind: str, reason: str) -> None:
    model = tiny_model(kind)
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        before = model(input_ids=ids).logits
        support = probe_support(model)
        after = model(input_ids=ids).logits
    assert not support.ok
    assert support.reason.startswith(reason)
    torch.testing.assert_close(after, before)


def test_a_model_in_its_wrappers_is_compared_by_what_it_returns() -> None:
    from prefboost.training.policy.model import add_completion_forward

    model = tiny_model("qwen2").train()
    add_completion_forward(model)
    enable_packing(model)
    result = measure_difference(model, VOCABULARY, torch.device("cpu"), torch.float32)
    assert 0 <= result < 1 and model.training
    model.forward = lambda packed=None, **padded: torch.zeros(4) if packed is None else torch.ones(4)
    assert measure_difference(model, VOCABULARY, torch.device("cpu"), torch.float32) > 1


def test_training_mode_is_left_as_it_was() -> None:
    model = tiny_model("llama").train()
    probe_support(model)
    assert model.training


def test_a_model_is_in_its_mode_again_after_an_error() -> None:
    model = torch.nn.Dropout()
    with pytest.raises(RuntimeError), evaluation_mode(model):
        assert not model.training
        raise RuntimeError
    assert model.training
