"""The settings of training load without torch, dump to themselves and refuse what cannot be."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from prefboost.training import Lora, Train, TrainReward


def test_settings_load_without_torch() -> None:
    code = "import sys; from prefboost.training import Train; Train(model='m'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_dump_loads_to_itself() -> None:
    settings = Train(model="m", loss={"kind": "ipo", "beta": 0.3}, lora=Lora(rank=8), score_buckets=(3, 7))
    assert Train.model_validate(settings.model_dump()) == settings
    assert Train.model_validate_json(settings.model_dump_json()) == settings


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_length": 64, "max_prompt_length": 64}, "leaves no room"),
        ({"loss": "dpo", "reference": "none"}, "compares with a reference"),
        ({"keep_checkpoints": 1}, "keep_checkpoints"),
        ({"batch_sise": 2}, "batch_sise"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Train(model="m", **changes)  # type: ignore[arg-type]


def test_every_setting_has_one_sentence() -> None:
    for cls in (Train, Lora):
        for name, field in cls.model_fields.items():
            assert field.description and field.description.endswith("."), name


@pytest.mark.parametrize("name", ["torch_compile", "padding_free"])
def test_settings_of_other_trainers_are_refused_with_the_reason(name: str) -> None:
    for cls in (Train, TrainReward):
        with pytest.raises(ValidationError, match=f"{name} is not a setting here: .*leave it out"):
            cls.model_validate({"model": "m", name: True})
