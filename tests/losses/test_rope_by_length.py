"""Sequences get the rotary frequencies of their own length, whatever stands beside them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.made.tiny_models import KeepDouble, tiny_model

from prefboost.losses.completion_logps import compute_logps, pad_sequences
from prefboost.losses.rope_by_length import apply_rope_groups, find_lowest_switch, group_by_frequencies, lower_switch

SWITCH = 24
LONGROPE: dict[str, Any] = {
    "rope_parameters": {
        "rope_type": "longrope",
        "short_factor": [1.0, 1.1, 1.2, 1.3],
        "long_factor": [4.0, 3.0, 9.0, 2.0],
        "rope_theta": 10000.0,
        "original_max_position_embeddings": SWITCH,
    },
    "original_max_position_embeddings": SWITCH,
}
DYNAMIC: dict[str, Any] = {
    "rope_parameters": {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0},
    "max_position_embeddings": SWITCH,
}
DEPENDENT = {"phi3": LONGROPE, "llama": DYNAMIC}


def draw(count: int, seed: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return [int(token) for token in torch.randint(3, 61, (count,), generator=generator)]


def rows_around_the_switch() -> tuple[list[list[int]], list[list[int]]]:
    """One prompt; completions that end before, at, just beyond and far beyond the switch."""
    prompt = draw(18, 0)
    counts = (3, SWITCH - 18, SWITCH - 17, 20, 21)
    return [prompt] * len(counts), [draw(count, 1 + at) for at, count in enumerate(counts)]


def logps_alone(model: Any, prompts: list[list[int]], completions: list[list[int]]) -> torch.Tensor:
    """Log-probs by the model's own logits, a row at a time in a model that has seen nothing else."""
    result = []
    for prompt, completion in zip(prompts, completions, strict=True):
        model(input_ids=torch.tensor([[3, 4]]))  # dynamic frequencies are set back by a short row
        whole = torch.tensor([prompt + completion])
        logits = model(input_ids=whole, use_cache=False).logits[0, len(prompt) - 1 : -1]
        result.append(logits.log_softmax(-1).gather(-1, whole[0, len(prompt) :, None]).sum())
    return torch.stack(result)


@pytest.mark.parametrize("kind", DEPENDENT)
def test_padded_rows_are_what_they_are_alone_whatever_their_neighbours(kind: str) -> None:
    model = tiny_model(kind, **DEPENDENT[kind]).double()
    prompts, completions = rows_around_the_switch()
    padded = pad_sequences(prompts, completions, 0)
    with KeepDouble(), torch.no_grad():
        expected = logps_alone(model, prompts, completions)
        result = compute_logps(model, **padded)
        again = logps_alone(model, prompts, completions)
    assert torch.allclose(result, expected, rtol=1e-9) and torch.equal(again, expected)


@pytest.mark.parametrize(("kind", "groups"), [("phi3", [24, 24, 26, 26]), ("llama", [24, 24, 25, 26])])
def test_sequences_of_equal_frequencies_are_one_group(kind: str, groups: list[int]) -> None:
    model = tiny_model(kind, **DEPENDENT[kind])
    assert group_by_frequencies(model, [3, 24, 25, 26]) == groups
    assert group_by_frequencies(tiny_model("qwen2"), [3, 24, 25, 26]) is None


def test_the_switch_can_be_lowered_for_a_trial() -> None:
    model = tiny_model("phi3", **LONGROPE)
    assert find_lowest_switch(model) == SWITCH and find_lowest_switch(tiny_model("llama", **DYNAMIC)) is None
    ids = torch.tensor([draw(SWITCH + 6, 9)])
    with torch.no_grad():
        before = model(input_ids=ids).logits, model(input_ids=ids[:, :9]).logits
        with lower_switch(model, 5):
            assert group_by_frequencies(model, [5, 6]) == [5, 6]
            assert not torch.equal(model(input_ids=ids[:, :9]).logits, before[1])
        assert find_lowest_switch(model) == SWITCH
        assert torch.equal(model(input_ids=ids).logits, before[0])
        assert torch.equal(model(input_ids=ids[:, :9]).logits, before[1])
    fresh = tiny_model("phi3", **LONGROPE)
    with torch.no_grad(), lower_switch(fresh, 5):
        fresh(input_ids=ids)
    with torch.no_grad():
        assert torch.equal(fresh(input_ids=ids).logits, before[0])


def test_outside_the_block_the_model_computes_as_before() -> None:
    model = tiny_model("phi3", **LONGROPE)
    ids = torch.tensor([draw(30, 9)])
    with torch.no_grad():
        before = model(input_ids=ids).logits
        with apply_rope_groups(model, [(SWITCH, None)]):
            short = model(input_ids=ids).logits
        assert torch.equal(model(input_ids=ids).logits, before) and not torch.equal(short, before)
