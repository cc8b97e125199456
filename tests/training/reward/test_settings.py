"""The settings of reward-model training: choices by kind, dumps that load, no heavy import."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from prefboost.losses.reward import BradleyTerry, Regression
from prefboost.training.reward.settings import TrainReward


def test_losses_are_chosen_by_kind_and_the_dump_loads_to_itself() -> None:
    settings = TrainReward(model="m", loss={"kind": "regression", "aspects": ["helpfulness"]}, lora={"rank": 4})
    assert settings.loss == Regression(aspects=("helpfulness",))
    assert TrainReward(**settings.model_dump(mode="json")) == settings
    assert TrainReward(model="m").loss == BradleyTerry()


def test_unknown_settings_and_kinds_are_refused() -> None:
    for wrong in ({"learning_rat": 1e-5}, {"loss": "bradley"}, {"unit": "row"}):
        with pytest.raises(ValidationError):
            TrainReward(model="m", **wrong)


def test_every_setting_is_described() -> None:
    assert all(field.description for field in TrainReward.model_fields.values())


def test_the_settings_load_without_torch() -> None:
    code = "import prefboost.training, sys; assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
