"""Engine trl runs through TRL's trainer, and none of what TRL would do with the data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import trl
from tests.training.conftest import GOALS

from prefboost.errors import RunError
from prefboost.training import Lora, Train, train
from prefboost.training.policy import trl_bridge


def settings_of(tiny: Path, **changes: Any) -> Train:
    return Train(model=str(tiny), precision="fp32", max_steps=1, batch_size=4, engine="trl", **changes)


@pytest.mark.parametrize("name", trl_bridge.REPLACED)
def test_a_trl_without_a_replaced_method_is_refused_by_name(
    name: str, tiny: Path, pairs: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for owner in trl.DPOTrainer.__mro__:
        if name in vars(owner):
            monkeypatch.delattr(owner, name)
    with pytest.raises(RunError, match=rf"TRL {trl.__version__}, whose DPOTrainer has no {name}"):
        train(pairs, settings_of(tiny), tmp_path, goals=GOALS)


@pytest.mark.parametrize("lora", [None, Lora(rank=2)])
def test_trl_prepares_the_model_and_loops_but_its_own_data_reference_and_loss_never_run(
    lora: Lora | None, tiny: Path, pairs: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("TRL's own path ran")

    steps: list[str] = []
    original = trl.DPOTrainer.training_step

    def watch(self: Any, *args: Any, **kwargs: Any) -> Any:
        steps.append(type(self).__name__)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(trl.DPOTrainer, "training_step", watch)
    for name in (*trl_bridge.REPLACED, "compute_ref_log_probs", "_compute_loss"):
        for owner in trl.DPOTrainer.__mro__:
            if name in vars(owner):
                monkeypatch.setattr(owner, name, never)
    report = train(pairs, settings_of(tiny, micro_batch=1, lora=lora, save_minutes=0), tmp_path, goals=GOALS)
    assert report.engine == "trl" and report.steps == 1
    assert steps == ["TrlTrainer"] * 2
