"""What is said before training holds afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.training.conftest import GOALS, SAY, build_folder

from prefboost.errors import ModelError, SettingsError
from prefboost.training import Lora, Train, train
from prefboost.training.forecast import forecast_policy


def settings_of(folder: Path, **changes: Any) -> Train:
    small: dict[str, Any] = {"model": str(folder), "batch_size": 8, "precision": "fp32", "token_budget": 300}
    return Train(**(small | changes))


def test_steps_and_tokens_are_those_of_the_training(tiny: Path, pairs: pa.Table, tmp_path: Path) -> None:
    said = forecast_policy(pairs, settings_of(tiny), say=SAY)
    report = train(pairs, settings_of(tiny), tmp_path, goals=GOALS)
    assert said.counts == {"steps": report.steps, "units": report.units, "pairs": report.pairs}
    assert said.tokens["packed"] == report.speed["computed"]
    assert said.tokens["real"] == report.speed["real"] and said.tokens["padded"] == report.speed["padded"]
    assert said.tokens["packed"] < said.tokens["real"] < said.tokens["padded"]
    assert said.engine == report.engine == "packed"
    assert set(said.seconds) == {"training", "reference"} and min(said.seconds.values()) > 0


def test_memory_is_counted_by_what_is_trained(tiny: Path, pairs: pa.Table) -> None:
    full = forecast_policy(pairs, settings_of(tiny, reference="none", loss="simpo"), say=SAY)
    assert full.memory["gradients"] == full.memory["weights"] and full.memory["optimizer"] == 2 * full.memory["weights"]
    assert full.memory["activations"] > 0 and set(full.seconds) == {"training"}
    adapters = forecast_policy(pairs, settings_of(tiny, lora=Lora(rank=2)), say=SAY)
    assert 0 < adapters.memory["gradients"] < full.memory["gradients"] / 2
    again = forecast_policy(pairs, settings_of(tiny, gradient_checkpointing=True), say=SAY)
    assert any("lower bound" in guess for guess in again.guesses)


def test_longer_trainings_are_extrapolated_and_say_so(
    tiny: Path, pairs: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = forecast_policy(pairs, settings_of(tiny, epochs=4), say=SAY)
    assert whole.counts["steps"] == 12 and "counted on 3 of 12 steps" in whole.guesses[0]
    monkeypatch.setattr("prefboost.training.forecast._SAMPLED_STEPS", 1)
    one = forecast_policy(pairs, settings_of(tiny, epochs=4), say=SAY)
    assert one.tokens["real"] == pytest.approx(whole.tokens["real"], rel=0.2)


def test_the_slow_engine_and_short_memory_are_not_timed(
    tiny: Path, pairs: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = forecast_policy(pairs, settings_of(tiny, engine="padded"), say=SAY)
    assert slow.engine == "padded" and not slow.seconds and slow.memory["weights"] > 0

    def short(*args: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr("prefboost.training.forecast._run_trial", short)
    found = forecast_policy(pairs, settings_of(tiny), say=SAY)
    assert not found.seconds and any("did not fit" in guess for guess in found.guesses)


def test_a_model_that_is_here_and_damaged_is_an_error_and_one_that_is_not_here_is_not(
    pairs: pa.Table, tmp_path: Path
) -> None:
    folder = build_folder(tmp_path / "model")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(ModelError, match=r"model\.safetensors is damaged"):
        forecast_policy(pairs, settings_of(folder), say=SAY)
    weights.unlink()
    guesses = forecast_policy(pairs, settings_of(folder), say=SAY).guesses
    assert any(guess.startswith("time and memory: not known") for guess in guesses)


def test_what_training_would_refuse_is_refused(tiny: Path, pairs: pa.Table) -> None:
    with pytest.raises(SettingsError, match="did you mean q_proj"):
        forecast_policy(pairs, settings_of(tiny, lora=Lora(targets=("q_porj",))), say=SAY)
    with pytest.raises(SettingsError, match="did you mean adamw_torch"):
        forecast_policy(pairs, settings_of(tiny, optimizer="adamw_torhc"), say=SAY)
    said = forecast_policy(pairs, settings_of(tiny, lora=Lora(targets=("q_proj", "v_porj"))), say=SAY)
    assert any("no layer is called 'v_porj'" in guess for guess in said.guesses)
