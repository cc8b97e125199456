"""What all trainings share is said once, and every training has it."""

from __future__ import annotations

import pytest

from prefboost.training.optimisation import Lora, Optimisation
from prefboost.training.policy.settings import Train
from prefboost.training.reward.settings import TrainReward


@pytest.mark.parametrize("training", [Train, TrainReward])
def test_every_training_has_what_all_share_with_the_same_meaning(training: type[Optimisation]) -> None:
    for name, field in Optimisation.model_fields.items():
        assert training.model_fields[name].description == field.description, name
        assert training.model_fields[name].default == field.default, name
    assert training.mro().index(Optimisation) == 1 and training(model="m", lora={"rank": 4}).lora == Lora(rank=4)
