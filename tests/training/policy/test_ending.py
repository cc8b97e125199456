"""What the end needs is settled before the first step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.training.conftest import build_model, build_tokenizer
from tests.training.policy.test_train import settings_of

from prefboost.training import Lora
from prefboost.training.policy.ending import PolicySaver
from prefboost.training.policy.model import Policy
from prefboost.training.saving.checkpoint import Provenance


@pytest.mark.parametrize(
    ("lora", "merges"), [(None, True), (Lora(), True), (Lora(merge=False), False)], ids=["none", "merged", "alone"]
)
def test_whole_weights_are_saved_unless_an_adapter_stays_alone(lora: Lora | None, merges: bool, tiny: Path) -> None:
    policy = Policy(build_model(), build_tokenizer())
    end = PolicySaver(policy, settings_of(tiny, lora=lora), Provenance(settings={}, data={}), torch.float32)
    assert end.merges == merges


def test_a_policy_without_weights_is_all_else_of_the_folder(tiny: Path, tmp_path: Path) -> None:
    provenance = Provenance(
        settings={"model": "base", "loss": {"kind": "dpo"}},
        data={"fingerprint": "f", "rows": 1, "pairs": 1, "units": 1, "dropped": {}, "shortened": {}},
    )
    end = PolicySaver(Policy(build_model(), build_tokenizer()), settings_of(tiny), provenance, torch.bfloat16)
    end.save(None, None, folder=tmp_path / "bare")
    names = {path.name for path in (tmp_path / "bare").iterdir()}
    assert {"tokenizer.json", "README.md", "prefboost.json"} <= names and "model.safetensors" not in names
    end.save(end.policy.model, None, folder=tmp_path / "whole")
    assert (tmp_path / "whole" / "model.safetensors").stat().st_size < 80_000  # two bytes per weight
