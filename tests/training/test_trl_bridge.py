"""What we rely on in TRL, by name: an upgrade that changes it fails here, not in a run."""

from __future__ import annotations

import inspect
from typing import Any

import pyarrow as pa
import pytest
import trl

from prefboost.training import trl_bridge
from prefboost.training.trl_bridge import BridgedTrainer, trainer_config

PARAMETERS = {
    "_prepare_dataset": ["dataset", "processing_class", "args", "dataset_name"],
    "_precompute_ref_logps": ["dataset", "name", "batch_size"],
    "_get_train_sampler": ["train_dataset"],
    "_get_num_items_in_batch": ["batch_samples", "device"],
    "_save_checkpoint": ["model", "trial"],
    "_send_telemetry": [],
    "training_step": ["args", "kwargs"],
    "get_batch_samples": ["epoch_iterator", "num_batches", "device"],
    "compute_loss": ["model", "inputs", "return_outputs", "num_items_in_batch"],
    "log": ["logs", "start_time"],
}
INIT = [
    "model",
    "args",
    "data_collator",
    "train_dataset",
    "eval_dataset",
    "processing_class",
    "callbacks",
    "peft_config",
]


@pytest.mark.parametrize("name", trl_bridge.OVERRIDDEN)
def test_trl_still_has_the_method(name: str) -> None:
    theirs = getattr(trl.DPOTrainer, name, None)
    assert theirs is not None, f"trl {trl.__version__} has no DPOTrainer.{name}"
    if name in PARAMETERS:
        found = [each for each in inspect.signature(theirs).parameters if each != "self"]
        assert found == PARAMETERS[name], f"trl {trl.__version__} changed the parameters of {name}"
    assert name in vars(BridgedTrainer)


def test_nothing_else_is_overridden_that_trl_has() -> None:
    ours = {name for name, value in vars(BridgedTrainer).items() if callable(value)}
    assert {name for name in ours if hasattr(trl.DPOTrainer, name)} == set(trl_bridge.OVERRIDDEN)


def test_trl_still_takes_our_arguments() -> None:
    assert set(INIT) <= set(inspect.signature(trl.DPOTrainer.__init__).parameters)
    config = trainer_config(output_dir="unused", use_cpu=True, bf16=False, report_to="none")
    assert config.precompute_ref_log_probs and config.max_length is None and config.disable_dropout
    assert not config.remove_unused_columns and config.prediction_loss_only


def test_trl_still_averages_what_is_watched_under_the_names_train_and_eval() -> None:
    source = inspect.getsource(trl.DPOTrainer.log)
    assert "self._metrics[mode]" in source and '"train" if self.model.training else "eval"' in source


def test_trl_never_runs_its_own_reference_or_loss(tiny: Any, pairs: pa.Table, tmp_path: Any, monkeypatch: Any) -> None:
    from tests.training.conftest import SAY

    from prefboost.training import Train, train

    def never(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("TRL's own path ran")

    for name in ("compute_ref_log_probs", "_compute_loss"):
        monkeypatch.setattr(trl.DPOTrainer, name, never)
    settings = Train(model=str(tiny), precision="fp32", max_steps=1, batch_size=4)
    assert train(pairs, settings, tmp_path, say=SAY).steps == 1
