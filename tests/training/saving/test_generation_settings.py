"""What a model's maker says of sampling survives training, also where transformers would refuse to save it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.training.conftest import GOALS, build_folder, build_model
from tests.training.policy.test_train import settings_of

from prefboost.training import train
from prefboost.training.saving.generation_settings import set_aside_generation, write_generation

SHIPPED: list[dict[str, Any]] = [
    {"do_sample": False, "temperature": 0.9},
    {"temperature": 0.6, "top_p": 0.9},
    {"do_sample": False, "top_k": 20, "repetition_penalty": 1.05},
    {"do_sample": True, "temperature": 0.7, "top_p": 0.8},
    {"num_beams": 1, "early_stopping": True, "length_penalty": 0.8},
]


@pytest.mark.parametrize("shipped", SHIPPED)
def test_a_model_with_any_generation_settings_trains_and_keeps_them(
    shipped: dict[str, Any], pairs: pa.Table, tmp_path: Path
) -> None:
    folder = build_folder(tmp_path / "model")
    (folder / "generation_config.json").write_text(json.dumps(shipped | {"eos_token_id": [257, 258]}))
    settings = settings_of(folder, max_steps=4, save_every=2)
    report = train(pairs, settings, tmp_path / "run", goals=GOALS)
    saved = json.loads((Path(report.model) / "generation_config.json").read_text())
    assert {name: saved.get(name) for name in shipped} == shipped
    assert 257 in saved["eos_token_id"] and 258 in saved["eos_token_id"]


def test_settings_that_can_be_saved_are_left_alone(tmp_path: Path) -> None:
    model = build_model()
    model.generation_config.do_sample, model.generation_config.temperature = True, 0.3
    own = model.generation_config
    set_aside_generation(model)
    assert model.generation_config is own
    model.save_pretrained(tmp_path)
    before = (tmp_path / "generation_config.json").read_text()
    write_generation(model, tmp_path)
    assert (tmp_path / "generation_config.json").read_text() == before


def test_special_tokens_of_training_win_over_those_that_were_shipped(tmp_path: Path) -> None:
    model = build_model()
    model.generation_config.do_sample, model.generation_config.temperature = False, 0.9
    set_aside_generation(model)
    model.generation_config.eos_token_id = 7
    model.save_pretrained(tmp_path)
    write_generation(model, tmp_path)
    saved = json.loads((tmp_path / "generation_config.json").read_text())
    assert (saved["temperature"], saved["do_sample"], saved["eos_token_id"]) == (0.9, False, 7)
