"""Packed log-probs and their gradients against the forward that shares nothing, for many architectures."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_models import ARCHITECTURES, DENSE, VOCABULARY, KeepDouble, tiny_model

from prefboost.losses.completion_logps import compute_logps, pad_sequences
from prefboost.packing import compute_end_states, enable_packing, pack, probe_support

Sequences = tuple[list[list[int]], list[list[int]]]


def _texts(seed: int = 0) -> Sequences:
    """Four sequences longer than the sliding windows; prompts share, a completion is empty, one begins another."""
    draw = torch.Generator().manual_seed(seed)

    def tokens(count: int) -> list[int]:
        return [int(token) for token in torch.randint(3, VOCABULARY, (count,), generator=draw)]

    common, answer = tokens(9), tokens(12)
    prompts = [common + tokens(3)] * 2 + [common + tokens(5)] * 2
    return prompts, [answer, answer[:5], tokens(1), []]


def _padded(model: Any, prompts: list[list[int]], completions: list[list[int]]) -> torch.Tensor:
    return compute_logps(model, **pad_sequences(prompts, completions, 0))


def _gradients(model: Any, logps: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    (logps * torch.linspace(1, -2, len(logps), dtype=logps.dtype)).sum().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def _ready(kind: str) -> Any:
    model = tiny_model(kind)
    support = probe_support(model)
    assert support.ok, support.reason
    return model.double()


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("kind", [*ARCHITECTURES, *DENSE])
def test_log_probs_and_gradients_are_those_of_padded_sequences(kind: str, share: bool) -> None:
    model = _ready(kind)
    prompts, completions = _texts()
    with KeepDouble():
        result = model(packed=pack(prompts, completions, min_shared=1, share=share))
        mine = _gradients(model, result)
        expected = _padded(model, prompts, completions)
        truth = _gradients(model, expected)
    assert result.dtype == torch.float64
    torch.testing.assert_close(result, expected, rtol=1e-9, atol=1e-9)
    assert mine.keys() == truth.keys()
    for name, gradient in truth.items():
        torch.testing.assert_close(mine[name], gradient, rtol=1e-9, atol=1e-9, msg=name)


tokens = st.integers(3, 6)
tries = st.lists(
    st.tuples(st.lists(tokens, min_size=1, max_size=7), st.lists(tokens, max_size=6)), min_size=1, max_size=5
)
_ready_once = functools.cache(_ready)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tries, st.integers(1, 4), st.sampled_from(["llama", "gemma2"]))
def test_any_sequences_keep_their_log_probs(given_: list[Any], min_shared: int, kind: str) -> None:
    model = _ready_once(kind)
    prompts, completions = [list(p) for p, _ in given_], [list(c) for _, c in given_]
    with KeepDouble(), torch.no_grad():
        result = model(packed=pack(prompts, completions, min_shared=min_shared))
        expected = _padded(model, prompts, completions)
    torch.testing.assert_close(result, expected, rtol=1e-9, atol=1e-9)


def _naive(model: Any, prompts: list[list[int]], completions: list[list[int]]) -> torch.Tensor:
    """As TRL computes it: padded, the log-softmax of all logits, the completion's entries added up."""
    padded = pad_sequences(prompts, completions, 0)
    target = padded.pop("completion_mask")[:, 1:]
    logps = model(**padded, use_cache=False).logits[:, :-1].log_softmax(-1)
    result: torch.Tensor = (logps.gather(-1, padded["input_ids"][:, 1:, None]).squeeze(-1) * target).sum(1)
    return result


def _lengthy(seed: int) -> Sequences:
    """A prompt and two completions, of lengths and with tokens as real ones have them."""
    draw = torch.Generator().manual_seed(seed)
    prompt, first, second = (torch.randint(3, REAL_VOCABULARY, (n,), generator=draw).tolist() for n in (40, 60, 35))
    return [prompt, prompt], [first, second]


REAL_VOCABULARY = 49152
REAL = {"vocab_size": REAL_VOCABULARY, "hidden_size": 64, "initializer_range": 0.1, "max_position_embeddings": 256}


# One of each kind of attention, norm and positions; a second costs as much as the first.
FLOAT32 = ["llama", "qwen3", "gemma2", "gemma3_text", "gpt2", "gpt_oss"]


@pytest.mark.parametrize("kind", FLOAT32)
def test_float32_is_no_further_from_the_float64_truth_than_the_naive_forward(kind: str) -> None:
    """On models with the vocabulary and sequences with the lengths of real ones: over 61 tokens the naive sum of
    exponentials has next to no error, and which of two roundings is nearer is chance. Gradients of both are off by the
    same 7e-7, what matrix products round; hence a margin of 5 %."""
    model = tiny_model(kind, **REAL)
    assert probe_support(model).ok
    texts = [_lengthy(seed) for seed in range(6)]
    model.double()
    with KeepDouble():
        truth = torch.cat([_naive(model, *text) for text in texts])
        gradient = _flat(_gradients(model, truth))
    model.float()
    errors, slopes = [], []
    for logps in (lambda text: model(packed=pack(*text, min_shared=1)), lambda text: _naive(model, *text)):
        result = torch.cat([logps(text) for text in texts])
        slopes.append((_flat(_gradients(model, result)).double() - gradient).norm())
        errors.append((result.detach().double() - truth.detach()).abs())
    mine, naive = errors
    assert mine.max() <= naive.max() and mine.norm() <= naive.norm(), mine.norm() / naive.norm()
    assert slopes[0] <= 1.05 * slopes[1], slopes[0] / slopes[1]


def _flat(gradients: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([gradients[name].flatten() for name in sorted(gradients)])


@pytest.mark.parametrize("saved_bytes", [1 << 30, 9_000])
@pytest.mark.parametrize("how", ["transformers", "wrapped"])
def test_recomputed_layers_have_the_same_gradients(how: str, saved_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # Where the allowance ends within the layers, a layer has to keep the same when it is computed again.
    monkeypatch.setattr("prefboost.packing.blocked.SAVED_BYTES_OF_LAYERS", saved_bytes)
    model = tiny_model("llama")
    enable_packing(model)
    packed = pack(*_texts(), min_shared=1)
    plain = _gradients(model, model(packed=packed))
    if how == "transformers":
        model.gradient_checkpointing_enable()
    else:
        _wrap_layers(model)
    model.train()
    again = {
        name.replace("_checkpoint_wrapped_module.", ""): g
        for name, g in _gradients(model, model(packed=packed)).items()
    }
    for name, gradient in plain.items():
        torch.testing.assert_close(again[name], gradient, rtol=1e-5, atol=1e-6, msg=name)


def _wrap_layers(model: Any) -> None:
    """As accelerate's FSDP plugin does with ``activation_checkpointing``."""
    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

    for number, layer in enumerate(model.model.layers):
        model.model.layers[number] = checkpoint_wrapper(layer)


def test_adapters_are_seen_and_can_be_switched_off() -> None:
    from peft import LoraConfig, get_peft_model

    model = tiny_model("llama")
    enable_packing(model)
    prompts, completions = _texts()
    packed = pack(prompts, completions, min_shared=1)
    with torch.no_grad():
        before = model(packed=packed)
        adapted = get_peft_model(model, LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False))
        after = adapted(packed=packed)
        torch.testing.assert_close(after, _padded(model, prompts, completions), rtol=1e-4, atol=1e-4)
        with adapted.disable_adapter():
            off = adapted(packed=packed)
    assert (after - before).abs().max() > 0.1
    torch.testing.assert_close(off, before)


def test_an_adapter_on_the_head_is_seen_too() -> None:
    from peft import LoraConfig, get_peft_model

    model = tiny_model("llama")
    enable_packing(model)
    prompts, completions = _texts()
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=["lm_head"], init_lora_weights=False))
    with torch.no_grad():
        result = adapted(packed=pack(prompts, completions, min_shared=1))
        torch.testing.assert_close(result, _padded(model, prompts, completions), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_sequence_alone_and_in_company_has_nearly_the_same_log_prob(dtype: torch.dtype) -> None:
    model = tiny_model("llama").to(dtype)
    enable_packing(model)
    prompts, completions = _texts()
    with torch.no_grad():
        together = model(packed=pack(prompts, completions))
        alone = torch.cat([model(packed=pack([p], [c])) for p, c in zip(prompts, completions, strict=True)])
    bound = 1e-4 if dtype == torch.float32 else 0.5
    assert (together - alone).abs().max() < bound


def test_ordinary_calls_and_generation_are_as_before() -> None:
    model = tiny_model("gemma2")
    ids = torch.tensor([[0, 0, 5, 6, 7], [8, 9, 10, 11, 12]])
    mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]])
    with torch.no_grad():
        before = model(input_ids=ids, attention_mask=mask).logits
        written = model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=6, do_sample=False)
        enable_packing(model)
        torch.testing.assert_close(model(input_ids=ids, attention_mask=mask).logits, before)
        again = model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=6, do_sample=False)
    assert written.tolist() == again.tolist()


def test_nothing_of_packing_is_saved_with_the_model(tmp_path: Any) -> None:
    model = tiny_model("llama")
    enable_packing(model)
    model.save_pretrained(tmp_path)
    assert "prefboost" not in (tmp_path / "config.json").read_text(encoding="utf-8")


def test_the_hidden_state_at_the_end_is_that_of_each_text_alone() -> None:
    model = _ready("qwen2")
    texts = [p + c for p, c in zip(*_texts(), strict=True)]
    with KeepDouble(), torch.no_grad():
        result = compute_end_states(model, pack(texts, [[]] * len(texts), min_shared=1))
        expected = [model.model(input_ids=torch.tensor([text])).last_hidden_state[0, -1] for text in texts]
    torch.testing.assert_close(result, torch.stack(expected), rtol=1e-9, atol=1e-9)
