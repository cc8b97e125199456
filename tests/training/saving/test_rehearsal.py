"""The end of a training is done once before its first step, so that nothing is trained which cannot be saved."""

from __future__ import annotations

import errno
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from tests.training.conftest import GOALS, build_model
from tests.training.policy.test_train import losses, settings_of

from prefboost.errors import ModelError, RunError
from prefboost.training import Lora, train
from prefboost.training.adapters import trial_adapters
from prefboost.training.claim import LOG, MANIFEST
from prefboost.training.reward.settings import TrainReward
from prefboost.training.reward.train import train_reward
from prefboost.training.saving import rehearsal
from prefboost.training.saving.rehearsal import checkpoint_bytes

FULL = OSError(errno.ENOSPC, "No space left on device", "/disk/model.safetensors")


def run_both(pairs: pa.Table, tiny: Path, out: Path, said: str, kind: type[Exception], **changes: Any) -> None:
    """Both trainings must refuse before their first step, and leave nothing of the rehearsal."""
    common = {"max_steps": 3, "save_every": 100} | changes
    for name in ("policy", "reward"):
        folder = out / name
        with pytest.raises(kind, match=said):
            if name == "policy":
                train(pairs, settings_of(tiny, **common), folder, goals=GOALS)
            else:
                train_reward(pairs, TrainReward(model=str(tiny), precision="fp32", **common), folder)
        assert not (folder / LOG).exists()
        assert {path.name for path in folder.iterdir()} <= {MANIFEST, ".training.lock"}


def fails(error: Exception) -> Any:
    def failing(*args: Any, **kwargs: Any) -> Any:
        raise error

    return failing


@pytest.mark.parametrize("what", ["transformers.PreTrainedModel.save_pretrained",
                                  "transformers.PreTrainedTokenizerBase.save_pretrained",
                                  "prefboost.training.saving.checkpoint._write_facts"])  # fmt: skip
def test_what_cannot_be_saved_is_found_out_before_the_first_step(
    what: str, tiny: Path, pairs: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(what, fails(ValueError("this object refuses\nto be saved")))
    run_both(pairs, tiny, tmp_path, "could not be saved: ValueError: this object refuses to be saved", ModelError)


def test_a_full_disk_is_found_out_before_the_first_step(
    tiny: Path, pairs: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.PreTrainedModel.save_pretrained", fails(FULL))
    run_both(pairs, tiny, tmp_path, r"No space left on device (.|\n)*free space", RunError)


def test_room_that_checkpoints_will_need_is_asked_for(
    tiny: Path, pairs: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil
    from types import SimpleNamespace

    needed = checkpoint_bytes(build_model(), settings_of(tiny, save_every=2), 3)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=needed // 3))
    run_both(pairs, tiny, tmp_path, r"training will write .* MiB \(checkpoints and the model\)", RunError, save_every=2)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=2 * needed))
    assert train(pairs, settings_of(tiny, max_steps=3, save_every=2), tmp_path / "enough", goals=GOALS).steps == 3


def test_checkpoints_are_counted_where_there_will_be_any(tiny: Path) -> None:
    model = build_model()
    weights = 4 * sum(parameter.numel() for parameter in model.parameters())
    settings = settings_of(tiny, save_every=10, keep_checkpoints=2)
    assert checkpoint_bytes(model, settings, 10) == 0
    assert checkpoint_bytes(model, settings, 11) == 3 * 3 * weights
    assert checkpoint_bytes(model, settings_of(tiny, save_every=10, optimizer="sgd"), 11) == 3 * weights
    assert checkpoint_bytes(model, settings_of(tiny, save_every=10, lora=Lora()), 11) == 0


def test_weights_that_would_be_missing_after_loading_are_named(
    tiny: Path, pairs: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.PreTrainedModel._keys_to_ignore_on_save", {"model.norm.weight"})
    run_both(pairs, tiny, tmp_path, "the saved model would lack weights: model.norm.weight", ModelError)


def test_a_tokenizer_that_changes_when_it_is_saved_is_refused(
    tiny: Path, pairs: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import PreTrainedTokenizerFast

    whole = PreTrainedTokenizerFast.save_pretrained

    def save(self: Any, folder: Any, *args: Any, **kwargs: Any) -> Any:
        files = whole(self, folder, *args, **kwargs)
        path = Path(folder) / "tokenizer.json"
        text = path.read_text()
        path.write_text(text.replace('"H":', '"#":', 1).replace('"I":', '"H":', 1).replace('"#":', '"I":', 1))
        return files

    monkeypatch.setattr(PreTrainedTokenizerFast, "save_pretrained", save)
    run_both(pairs, tiny, tmp_path, "splits text into other tokens after saving", ModelError)


def test_a_template_that_would_mean_something_else_is_refused(
    tiny: Path, pairs: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefboost.training.saving import checkpoint

    monkeypatch.setattr(checkpoint, "rewrite_template", lambda text, *args: text.replace("<|im_start|>", "<start>"))
    with pytest.raises(ModelError, match="saved chat template would change: alone it renders '<start>"):
        train(pairs, settings_of(tiny, max_steps=3), tmp_path, goals=GOALS)
    assert losses(tmp_path) == []


def test_the_rehearsal_leaves_nothing_and_changes_nothing(tiny: Path, pairs: pa.Table, tmp_path: Path) -> None:
    report = train(pairs, settings_of(tiny, max_steps=1), tmp_path, goals=GOALS)
    assert report.steps == 1
    assert not list(tmp_path.glob("rehearsal*"))


@pytest.mark.parametrize("task", ["CAUSAL_LM", "SEQ_CLS"])
def test_trial_adapters_leave_the_model_and_random_numbers_as_they_were(task: str) -> None:
    from transformers import LlamaForSequenceClassification

    model = build_model() if task == "CAUSAL_LM" else LlamaForSequenceClassification(build_model().config)
    before = {name: (weight.clone(), weight.requires_grad) for name, weight in model.named_parameters()}
    drawn = torch.random.get_rng_state()
    with trial_adapters(model, settings_of(Path("m"), lora=Lora(rank=2)), task=task) as adapted:
        assert any("lora_A" in name for name, _ in adapted.named_parameters())
    after = dict(model.named_parameters())
    assert list(after) == list(before) and getattr(model, "peft_config", None) is None
    assert all(
        torch.equal(weight, after[name]) and asks == after[name].requires_grad
        for name, (weight, asks) in before.items()
    )
    assert torch.equal(drawn, torch.random.get_rng_state())


def test_saving_an_adapter_alone_is_rehearsed(
    tiny: Path, pairs: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = {"lora": Lora(rank=2, merge=False)}
    monkeypatch.setattr("peft.PeftModel.save_pretrained", fails(ValueError("no adapters here")))
    run_both(pairs, tiny, tmp_path, "could not be saved: ValueError: no adapters here", ModelError, **alone)


def test_large_weights_are_read_back_where_memory_and_time_allow_it_and_else_it_is_said(
    tiny: Path, pairs: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearsal, "_LOADED", 1)
    for name, free, patience, expected in (
        ("room", 1 << 40, 60.0, None),
        ("short", 1000, 60.0, "a second copy would need .* GiB of memory is free"),
        ("unknown", None, 60.0, "nobody knows how much memory is free"),
        ("slow", 1 << 40, -1.0, "writing them took 0 s already"),
    ):
        monkeypatch.setattr(rehearsal, "free_memory", lambda free=free: free)
        monkeypatch.setattr(rehearsal, "_PATIENCE_S", patience)
        report = train(pairs, settings_of(tiny, max_steps=1), tmp_path / name, goals=GOALS)
        lines = [line for line in report.messages if line.startswith("rehearsal:")]
        assert len(lines) == (expected is not None)
        assert expected is None or re.search(expected, lines[0])
