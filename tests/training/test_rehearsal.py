"""The end of a training is done once before its first step, so that nothing is trained which cannot be saved."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.training.conftest import GOALS, build_model
from tests.training.test_train import losses, settings_of

from prefboost.errors import ModelError, RunError
from prefboost.training import Lora, train
from prefboost.training.claim import BEGUN, LOG
from prefboost.training.rehearsal import checkpoint_bytes
from prefboost.training.reward_settings import TrainReward
from prefboost.training.train_reward import train_reward

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
        assert {path.name for path in folder.iterdir()} <= {BEGUN, ".training.lock"}


def fails(error: Exception) -> Any:
    def failing(*args: Any, **kwargs: Any) -> Any:
        raise error

    return failing


@pytest.mark.parametrize("what", ["transformers.PreTrainedModel.save_pretrained",
                                  "transformers.PreTrainedTokenizerBase.save_pretrained",
                                  "prefboost.training.checkpoint._write_facts"])  # fmt: skip
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
    run_both(pairs, tiny, tmp_path, "splits text into other tokens after it was saved", ModelError)


def test_a_template_that_would_mean_something_else_is_refused(
    tiny: Path, pairs: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefboost.training import checkpoint

    monkeypatch.setattr(checkpoint, "rewrite_template", lambda text, *args: text.replace("<|im_start|>", "<start>"))
    with pytest.raises(ModelError, match="would be saved with another meaning: by itself it renders '<start>"):
        train(pairs, settings_of(tiny, max_steps=3), tmp_path, goals=GOALS)
    assert losses(tmp_path) == []


def test_the_rehearsal_leaves_nothing_and_changes_nothing(tiny: Path, pairs: pa.Table, tmp_path: Path) -> None:
    report = train(pairs, settings_of(tiny, max_steps=1), tmp_path, goals=GOALS)
    assert report.steps == 1
    assert not list(tmp_path.glob("rehearsal*"))
