"""What all trainings share is said once, and every training has it."""

from __future__ import annotations

import pytest
import torch

from prefboost.training.optimisation import Lora, Optimisation, count_state_bytes
from prefboost.training.policy.settings import Train
from prefboost.training.reward.settings import TrainReward


@pytest.mark.parametrize("training", [Train, TrainReward])
def test_every_training_has_what_all_share_with_the_same_meaning(training: type[Optimisation]) -> None:
    for name, field in Optimisation.model_fields.items():
        assert training.model_fields[name].description == field.description, name
        assert training.model_fields[name].default == field.default, name
    assert training.mro().index(Optimisation) == 1 and training(model="m", lora={"rank": 4}).lora == Lora(rank=4)


@pytest.mark.parametrize(("optimizer", "size"), [("adamw_torch", 2 * (10 * 4 + 6 * 2)), ("adamw_8bit", 32), ("sgd", 0)])
def test_the_state_of_an_optimiser_is_counted_by_weights_and_their_types(optimizer: str, size: int) -> None:
    assert count_state_bytes(optimizer, [torch.zeros(10), torch.zeros(2, 3, dtype=torch.bfloat16)]) == size
    assert count_state_bytes(optimizer, []) == 0
