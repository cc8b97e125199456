"""Log-probs of many completions: packed or padded, in batches, always the same."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_models import tiny_model

from prefboost.engines.local.streams import logps_of_batch, logps_of_groups, stream_batches
from prefboost.packing import probe_support

pytestmark = pytest.mark.torch

SHARED = list(range(3, 33))
PROMPTS = [SHARED, SHARED, [40, 41], SHARED, [40, 41]]
COMPLETIONS = [[50], [51, 52, 53], [54], [], [55, 56]]
GROUPS = ["a", "a", "b", "a", "b"]


@pytest.fixture(scope="module")
def model() -> Any:
    found = tiny_model("llama")
    assert probe_support(found).ok
    return found


@pytest.mark.parametrize("packed", [True, False])
def test_batches_hold_every_sequence_once(packed: bool) -> None:
    for budget in (1, 40, 80, 10_000):
        batches = list(stream_batches(PROMPTS, COMPLETIONS, GROUPS, budget, packed=packed))
        assert sorted(index for batch in batches for index in batch) == list(range(5))


def test_groups_stay_together_where_they_fit() -> None:
    assert list(stream_batches(PROMPTS, COMPLETIONS, GROUPS, 40, packed=True)) == [[0, 1, 3, 2, 4]]
    assert list(stream_batches(PROMPTS, COMPLETIONS, GROUPS, 34, packed=True)) == [[0, 1, 3], [2, 4]]
    assert list(stream_batches(PROMPTS, COMPLETIONS, GROUPS, 20, packed=True)) == [[0], [1], [3], [2, 4]]


@pytest.mark.parametrize("budget", [1, 40, 10_000])
@pytest.mark.parametrize("packed", [True, False])
def test_batches_and_packing_change_no_log_prob(budget: int, packed: bool, model: Any) -> None:
    whole = logps_of_batch(model, PROMPTS, COMPLETIONS, 0, packed=False).tolist()
    found = logps_of_groups(model, PROMPTS, COMPLETIONS, GROUPS, 0, budget, packed=packed)
    assert found == pytest.approx(whole, abs=1e-4) and found[3] == 0.0


def test_no_gradient_is_kept(model: Any) -> None:
    assert not logps_of_batch(model, PROMPTS, COMPLETIONS, 0, packed=True).requires_grad
    assert torch.is_grad_enabled()
