"""Parts of ZeRO-3 for another number of processes. Whole trainings under DeepSpeed: tests/cli/test_train.py."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from prefboost.errors import RunError
from prefboost.training.saving.checkpoint import mark_complete
from prefboost.training.saving.zero_parts import fit_zero_parts

pytestmark = pytest.mark.torch


def fake_trainer(optimizer: Any = None) -> Any:
    plugin = SimpleNamespace(zero_stage=3, deepspeed_config={})
    callbacks: list[Any] = []
    return SimpleNamespace(
        args=SimpleNamespace(deepspeed_plugin=plugin),
        accelerator=SimpleNamespace(state=SimpleNamespace(deepspeed_plugin=plugin)),
        model_wrapped=SimpleNamespace(optimizer=SimpleNamespace(optimizer=optimizer)),
        add_callback=callbacks.append,
        callbacks=callbacks,
    )


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    (tmp_path / "global_step5").mkdir()
    (tmp_path / "latest").write_text("global_step5\n")
    mark_complete(tmp_path, {"units_per_step": 6, "processes": 2})
    return tmp_path


def test_the_same_number_of_processes_reads_the_parts_as_they_are(checkpoint: Path) -> None:
    trainer = fake_trainer()
    fit_zero_parts(checkpoint, trainer, {"processes": 2})
    assert trainer.args.deepspeed_plugin.deepspeed_config == {} and not trainer.callbacks


def test_another_launch_than_zero3_is_left_alone(checkpoint: Path) -> None:
    trainer = fake_trainer()
    trainer.args.deepspeed_plugin = None
    fit_zero_parts(checkpoint, trainer, {"processes": 3})
    assert not trainer.callbacks and not (checkpoint / "global_step5_universal").exists()


def test_parts_that_cannot_be_put_together_are_named_with_the_number_that_can_resume(checkpoint: Path) -> None:
    # The folder holds no parts; where DeepSpeed is not installed, its tool is missing too.
    with pytest.raises(RunError, match="2 processes wrote it in parts") as refused:
        fit_zero_parts(checkpoint, fake_trainer(), {"processes": 3})
    assert "with 2 processes" in str(refused.value)


def test_groups_count_their_own_steps_and_have_their_own_decay_again(checkpoint: Path) -> None:
    weights = [torch.nn.Parameter(torch.ones(2)) for _ in range(2)]
    optimizer = torch.optim.AdamW([{"params": [each], "weight_decay": 0.5} for each in weights])
    sum(each.sum() for each in weights).backward()
    optimizer.step()
    whole = checkpoint / "global_step5_universal" / "zero"
    whole.mkdir(parents=True)
    groups = [{**group, "params": [number]} for number, group in enumerate(optimizer.param_groups)]
    groups[1]["weight_decay"] = 0.0
    torch.save({"param_groups": groups}, whole / "optimizer_state.pt")
    (checkpoint / "latest_universal").write_text("global_step5_universal")
    # As DeepSpeed leaves them: one tensor for all.
    for each in weights:
        optimizer.state[each]["step"] = optimizer.state[weights[0]]["step"]
    trainer = fake_trainer(optimizer)
    fit_zero_parts(checkpoint, trainer, {"processes": 3})
    assert trainer.args.deepspeed_plugin.deepspeed_config == {"checkpoint": {"load_universal": True}}
    trainer.callbacks[0].on_train_begin()
    optimizer.step()
    assert [float(optimizer.state[each]["step"]) for each in weights] == [2.0, 2.0]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.5, 0.0]
    assert [group["params"] for group in optimizer.param_groups] == [[weights[0]], [weights[1]]]
