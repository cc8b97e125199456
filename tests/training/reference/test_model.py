"""The reference is the policy before training, or another model that the engine can run."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import prefboost.training.reference.model as reference_model
from prefboost.errors import RunError
from prefboost.packing import Support
from prefboost.training import Lora, Train
from prefboost.training.policy.model import load_model
from prefboost.training.reference.forward import hash_of_model
from prefboost.training.reference.model import load_reference, place_start


def accelerator_of(kind: str = "NO") -> Any:
    return SimpleNamespace(
        device=torch.device("cpu"),
        distributed_type=SimpleNamespace(value=kind),
        is_fsdp2=False,
        prepare_model=lambda model: model,
    )


@pytest.mark.parametrize(
    ("kind", "lora", "parted"), [("NO", None, False), ("FSDP", None, True), ("FSDP", Lora(rank=2), False)]
)
def test_the_start_is_loaded_again_only_where_the_policy_will_be_parted(
    kind: str, lora: Lora | None, parted: bool, tiny: Path
) -> None:
    settings = Train(model=str(tiny), precision="fp32", lora=lora)
    model = load_model(settings, settings.model)
    reference = place_start(model, "hash", settings, accelerator_of(kind))
    assert reference.parted == parted and (reference.model is not model) == parted
    assert hash_of_model(reference.model) == hash_of_model(model)


def test_another_reference_has_its_own_hash_and_must_be_one_that_the_engine_runs(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Train(model="m", reference=str(tiny), precision="fp32")
    reference = load_reference(settings, accelerator_of())
    assert reference.weights_hash == hash_of_model(reference.model) and not reference.model.training
    monkeypatch.setattr(reference_model, "probe_support", lambda model: Support(False, reason="it mixes tokens"))
    with pytest.raises(RunError, match=r"(?s)cannot be packed: it mixes tokens.*engine: padded"):
        load_reference(settings, accelerator_of())
