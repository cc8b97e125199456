"""What every training does around its steps: alone in its folder, named by settings and data, finished in order."""

from __future__ import annotations

import json
import math
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from prefboost.errors import RunError
from prefboost.training import Train
from prefboost.training.claim import REPORT
from prefboost.training.report import TrainReport
from prefboost.training.saving.checkpoint import mark_complete
from prefboost.training.session import build_callbacks, describe_inputs, finish_training, open_session, run_to_end


def test_two_trainings_do_not_share_a_folder(tmp_path: Path) -> None:
    with (
        open_session(tmp_path, Train(model="m")),
        pytest.raises(RunError, match="another process is using"),
        open_session(tmp_path, Train(model="m")),
    ):
        pass


def test_a_run_is_identified_by_settings_and_data() -> None:
    rows, settings = pa.table({"a": [1]}), Train(model="m")
    first = describe_inputs(rows, None, settings)
    assert first == describe_inputs(rows, None, settings)
    assert first["data"] != describe_inputs(pa.table({"a": [2]}), None, settings)["data"]
    assert first["train"]["model"] == "m" and first["eval_data"] is None


def test_progress_is_reported_where_somebody_watches(tmp_path: Path) -> None:
    settings = Train(model="m")
    assert len(build_callbacks(settings, tmp_path, None, 8.0, 20.0)) == 2
    progress: Any = object()
    assert build_callbacks(settings, tmp_path, progress, 8.0, 20.0)[-1].pairs_per_step == 8.0


def test_checkpoints_go_only_after_model_and_report_are_written(tmp_path: Path) -> None:
    (tmp_path / "checkpoints" / "checkpoint-3").mkdir(parents=True)
    order = []

    def save(model: Any, weights: Any) -> None:
        assert (tmp_path / "checkpoints").is_dir() and not (tmp_path / REPORT).exists()
        order.append((model, weights))

    accelerator = SimpleNamespace(
        is_main_process=True, num_processes=1, unwrap_model=lambda model: model, wait_for_everyone=lambda: None
    )
    trainer: Any = SimpleNamespace(accelerator=accelerator, shards_weights=False, model="weights")
    report = TrainReport("model", 3, 4, 8, 120, 1.5, metrics={"loss": math.nan, "eval_loss": 0.5})
    finish_training(trainer, report, tmp_path, save)
    assert order == [("weights", None)] and json.loads((tmp_path / REPORT).read_text())["steps"] == 3
    assert not (tmp_path / "checkpoints").exists()
    # Strict readers of JSON refuse NaN; ours gives it back.
    record = json.loads((tmp_path / REPORT).read_text(), parse_constant=pytest.fail)
    restored = TrainReport.from_record(record)
    assert math.isnan(restored.metrics["loss"]) and restored.metrics["eval_loss"] == 0.5


def test_a_run_is_not_resumed_where_steps_would_have_other_units(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoints" / "checkpoint-3"
    checkpoint.mkdir(parents=True)
    mark_complete(checkpoint, {"units_per_step": 4, "processes": 2})
    resumed = []
    trainer: Any = SimpleNamespace(
        accelerator=SimpleNamespace(main_process_first=nullcontext),
        args=SimpleNamespace(deepspeed_plugin=None),
        layout={"units_per_step": 3, "processes": 3},
        train=lambda **options: resumed.append(options["resume_from_checkpoint"]),
        eval_dataset=None,
    )
    with pytest.raises(RunError, match="2 processes trained on 4 units per step"):
        run_to_end(trainer, tmp_path)
    trainer.layout = {"units_per_step": 4, "processes": 4}
    assert run_to_end(trainer, tmp_path) == 3 and resumed == [str(checkpoint)]
