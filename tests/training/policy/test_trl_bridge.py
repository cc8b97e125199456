"""What we rely on in TRL, by name: an upgrade that changes it fails here, not in a run."""

from __future__ import annotations

import inspect
from typing import Any

import pyarrow as pa
import pytest
import trl

from prefboost.training.engine.unit_trainer import UnitTrainer
from prefboost.training.policy import trl_bridge
from prefboost.training.policy.trl_bridge import BridgedTrainer, trainer_config

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
    assert getattr(BridgedTrainer, name) is not theirs


def test_nothing_else_is_overridden_that_trl_has() -> None:
    members = vars(UnitTrainer) | vars(BridgedTrainer)
    ours = {name for name, value in members.items() if callable(value) and not name.startswith("__")}
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
    from tests.training.conftest import GOALS

    from prefboost.training import Train, train

    def never(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("TRL's own path ran")

    for name in ("compute_ref_log_probs", "_compute_loss"):
        monkeypatch.setattr(trl.DPOTrainer, name, never)
    settings = Train(model=str(tiny), precision="fp32", max_steps=1, batch_size=4)
    assert train(pairs, settings, tmp_path, goals=GOALS).steps == 1


def test_trl_still_hashes_the_weights_by_the_name_that_is_replaced() -> None:
    from trl.trainer import dpo_trainer

    assert "hash_module(self.ref_model or self.model)" in inspect.getsource(trl.DPOTrainer.__init__)
    original = dpo_trainer.hash_module
    with trl_bridge.without_hashing():
        assert dpo_trainer.hash_module(None) == ""
    assert dpo_trainer.hash_module is original


def test_trl_still_loads_a_reference_of_its_own_only_where_weights_are_parted() -> None:
    source = inspect.getsource(trl.DPOTrainer.__init__)
    assert "args.precompute_ref_log_probs and not self.is_fsdp_enabled" in source


def test_the_loop_of_transformers_still_leaves_a_step_to_one_call_and_clears_its_gradients() -> None:
    import transformers

    loop = inspect.getsource(transformers.Trainer._run_epoch)
    assert "self.training_step(model, inputs, num_items_in_batch)" in loop
    assert "self.get_batch_samples(epoch_iterator, num_batches, self.args.device)" in loop
    assert "model.zero_grad()" in loop
    step = list(inspect.signature(transformers.Trainer.training_step).parameters)
    assert step == ["self", "model", "inputs", "num_items_in_batch"]


def test_accelerate_still_tells_when_gradients_are_exchanged() -> None:
    from accelerate import Accelerator
    from accelerate.state import GradientState
    from accelerate.utils import DistributedType

    assert "model" in inspect.signature(Accelerator.no_sync).parameters
    assert "sync_gradients" in inspect.signature(GradientState._set_sync_gradients).parameters
    assert {DistributedType.FSDP.value, DistributedType.DEEPSPEED.value} == {"FSDP", "DEEPSPEED"}
