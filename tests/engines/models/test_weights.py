"""Loading models for inference."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from prefboost.engines.models.weights import fingerprint_of_model, load_causal_lm, load_tokenizer
from prefboost.errors import ModelError

pytestmark = pytest.mark.torch


def test_a_model_is_loaded_in_the_wanted_number_type_and_ready_to_generate(folder: Path) -> None:
    model, tokenizer = load_causal_lm(str(folder), "bfloat16")
    assert next(model.parameters()).dtype == torch.bfloat16
    assert not model.training
    assert (tokenizer.padding_side, tokenizer.pad_token is not None) == ("left", True)


def test_weights_that_can_run_code_are_refused(folder: Path, tmp_path: Path) -> None:
    pickled = tmp_path / "pickled"
    shutil.copytree(folder, pickled)
    model, _ = load_causal_lm(str(folder), "float32")
    torch.save(model.state_dict(), pickled / "pytorch_model.bin")
    (pickled / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="safetensors"):
        load_causal_lm(str(pickled))


def test_a_folder_without_a_model_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"cannot load the model .*empty.*\n.*package:NAME"):
        load_tokenizer(str(tmp_path / "empty"))


def test_a_folder_that_is_not_there_is_no_hub_id(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no folder"):
        load_tokenizer(str(tmp_path / "absent"))


def test_fingerprints_follow_the_weights(folder: Path, tmp_path: Path) -> None:
    from tests.training.conftest import build_folder

    same = build_folder(tmp_path / "same")
    other = build_folder(tmp_path / "other", seed=1)
    assert fingerprint_of_model(str(same)) == fingerprint_of_model(str(folder)) != fingerprint_of_model(str(other))
    assert fingerprint_of_model("organisation/name", "0123abc") == "0123abc"


def test_weights_of_other_formats_code_and_vocabularies_are_part_of_the_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    names = ["pytorch_model.bin", "modeling_mine.py", "tokenizer.model", "merges.txt"]
    prints = [fingerprint_of_model(str(tmp_path))]
    for name in names:
        (tmp_path / name).write_bytes(b"a")
        prints.append(fingerprint_of_model(str(tmp_path)))
        (tmp_path / name).write_bytes(b"ab")
        prints.append(fingerprint_of_model(str(tmp_path)))
    assert len({*prints}) == 1 + 2 * len(names)
    (tmp_path / "README.md").write_text("words")
    assert fingerprint_of_model(str(tmp_path)) == prints[-1]
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    with_weights = fingerprint_of_model(str(tmp_path))
    (tmp_path / "pytorch_model.bin").write_bytes(b"a copy that nobody loads")
    assert fingerprint_of_model(str(tmp_path)) == with_weights
