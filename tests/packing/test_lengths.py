"""Streams of models whose rotary frequencies depend on length give each sequence what it has alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.losses.test_rope_by_length import DEPENDENT, LONGROPE, SWITCH, draw, logps_alone, rows_around_the_switch
from tests.made.tiny_models import KeepDouble, tiny_model

from prefboost.packing import compute_packed_logps, enable_packing, pack, probe_support
from prefboost.packing.lengths import part_by_length


@pytest.mark.parametrize("kind", DEPENDENT)
@pytest.mark.parametrize("share", [True, False])
def test_packed_rows_are_what_they_are_alone_whatever_their_neighbours(kind: str, share: bool) -> None:
    model = tiny_model(kind, **DEPENDENT[kind]).double()
    enable_packing(model)
    prompts, completions = rows_around_the_switch()
    with KeepDouble(), torch.no_grad():
        expected = logps_alone(model, prompts, completions)
        result = compute_packed_logps(model, pack(prompts, completions, share=share))
    assert torch.allclose(result, expected, rtol=1e-9)


def test_gradients_are_those_of_rows_alone() -> None:
    model = tiny_model("phi3", **LONGROPE).double()
    enable_packing(model)
    prompts, completions = rows_around_the_switch()
    with KeepDouble():
        compute_packed_logps(model, pack(prompts, completions)).sum().backward()
        result = [parameter.grad.clone() for parameter in model.parameters()]
        model.zero_grad()
        logps_alone(model, prompts, completions).sum().backward()
    assert all(torch.allclose(first, second.grad) for first, second in zip(result, model.parameters(), strict=True))


def test_only_sequences_of_one_set_of_frequencies_share_and_nothing_else_changes() -> None:
    model = tiny_model("phi3", **LONGROPE)
    prompts, completions = rows_around_the_switch()
    whole = pack(prompts, completions)
    parted, groups = part_by_length(model, whole)
    assert parted.tokens == whole.tokens + len(prompts[0]) and len(groups) == 2
    assert torch.equal(parted.targets[parted.item], whole.targets[whole.item])
    assert parted.lengths == whole.lengths and part_by_length(model, whole)[0] is parted
    short = pack(prompts[:2], completions[:2])
    assert part_by_length(model, short) == (short, [(SWITCH, None)])
    assert part_by_length(tiny_model("qwen2"), whole) == (whole, [])


def test_the_trial_of_packing_stands_on_both_sides_of_the_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    real: dict[str, Any] = {**LONGROPE, "original_max_position_embeddings": 64}
    real["rope_parameters"] = {**LONGROPE["rope_parameters"], "original_max_position_embeddings": 64}
    assert probe_support(tiny_model("phi3", **real)).ok
    monkeypatch.setattr("prefboost.packing.logps.part_by_length", lambda model, packed: (packed, []))
    assert "other log-probs" in probe_support(tiny_model("phi3", **real)).reason


def test_texts_that_are_judged_whole_are_parted_too() -> None:
    model = tiny_model("phi3", **LONGROPE)
    short, long = draw(20, 1), [*draw(20, 1), *draw(10, 2)]
    parted, groups = part_by_length(model, pack([short, long], [(), ()]))
    assert parted.tokens == 50 and sorted(length for length, _ in groups) == [20, 30]
