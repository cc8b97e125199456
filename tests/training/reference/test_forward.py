"""The reference pass: whose batches are whose, and what a hash of a model says."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from tests.training.conftest import build_model

from prefboost.packing import probe_support
from prefboost.training.engine.memory import TokenBudget
from prefboost.training.policy.model import add_completion_forward
from prefboost.training.reference.cache import Sequences
from prefboost.training.reference.forward import ReferencePass, hash_of_model, numerics_of

WANTED = Sequences([[1, 2, 3], [1, 2, 4], [5], [5, 6]], [[7, 8], [9], [10, 11, 12], [13]])


def reference(**changes: Any) -> ReferencePass:
    model = build_model()
    add_completion_forward(model)
    assert probe_support(model).ok
    options: dict[str, Any] = {"packed": True, "pad_id": 0, "autocast": nullcontext, "budget": TokenBudget(7)}
    return ReferencePass(model, **(options | changes))


def test_the_processes_share_all_batches_and_compute_equally_often_where_they_must() -> None:
    first, second = (reference(share=(index, 2)).batches(WANTED) for index in range(2))
    assert sorted(index for batch in first + second for index in batch) == [0, 1, 2, 3]
    assert len(first) + len(second) == 3
    in_step = [reference(share=(index, 2), in_step=True).batches(WANTED) for index in range(2)]
    assert len(in_step[0]) == len(in_step[1]) == 2


def test_only_sequences_that_are_computed_have_a_bar() -> None:
    class Shown:
        def __init__(self) -> None:
            self.begun: list[tuple[str, int | None]] = []
            self.done = 0

        def begin(self, what: str, total: int | None) -> None:
            self.begun.append((what, total))

        def advance(self, parts: int, **facts: float) -> None:
            self.done += parts

        def end(self) -> None:
            raise AssertionError("whoever asks for log-probs ends the bar")

    progress = Shown()
    forward = reference(progress=progress, name="log-probs")
    assert forward.batches(Sequences([], [])) == [] and progress.begun == []
    for batch in forward.batches(WANTED):
        forward.compute([WANTED.prompts[i] for i in batch], [WANTED.completions[i] for i in batch])
    assert progress.begun == [("log-probs", 4)] and progress.done == 4


def test_packed_and_padded_sequences_have_the_same_log_probs() -> None:
    prompts, completions = list(WANTED.prompts), list(WANTED.completions)
    packed, padded = (reference(packed=packed).compute(prompts, completions) for packed in (True, False))
    assert packed == pytest.approx(padded, abs=1e-4)


def test_short_memory_splits_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = reference().compute(list(WANTED.prompts), list(WANTED.completions))
    one = reference(budget=TokenBudget(100))
    forward = one._forward

    def small(prompts: Any, completions: Any) -> list[float]:
        if len(prompts) > 2:
            raise torch.OutOfMemoryError("too much")
        return forward(prompts, completions)

    monkeypatch.setattr(one, "_forward", small)
    monkeypatch.setattr("prefboost.training.engine.memory._SMALLEST", 1)
    assert one.compute(list(WANTED.prompts), list(WANTED.completions)) == pytest.approx(expected, abs=1e-4)


def test_another_weight_or_another_setting_of_the_architecture_is_another_model() -> None:
    one, same, other = build_model(), build_model(), build_model(seed=1)
    assert hash_of_model(one) == hash_of_model(same) != hash_of_model(other)
    same.config.rms_norm_eps = 1e-3
    assert hash_of_model(one) != hash_of_model(same)
    cpu = torch.device("cpu")
    numerics = {numerics_of(one, *what, cpu) for what in (("packed", "bf16"), ("packed", "fp32"), ("padded", "bf16"))}
    assert len(numerics) == 3


def test_padded_sequences_are_split_by_padded_tokens_and_the_model_keeps_its_mode() -> None:
    padded = reference(packed=False, budget=TokenBudget(8))
    padded.budget.messages.append("halved")
    sizes: list[int] = []
    forward = padded._forward

    def measure(prompts: Any, completions: Any) -> list[float]:
        sizes.append(len(prompts) * max(len(p) + len(c) for p, c in zip(prompts, completions, strict=True)))
        return forward(prompts, completions)

    padded._forward = measure  # type: ignore[method-assign]
    padded.model.train()
    padded.compute(list(WANTED.prompts), list(WANTED.completions))
    assert max(sizes) <= 8 and padded.model.training
