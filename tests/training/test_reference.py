"""The reference's log-probs are computed once for every sequence, whatever happens in between."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from prefboost.training.reference import ReferenceCache, Sequences, sequences_of, with_reference

SEQUENCES = Sequences([[1], [2], [1], [3, 4]], [[5], [6], [5], [7]])


def alone(lengths: list[int]) -> list[list[int]]:
    return [[index] for index in range(len(lengths))]


def compute(prompts: list[list[int]], completions: list[list[int]]) -> list[float]:
    return [
        float(np.float32(-0.1 * prompt[0] - completion[0]))
        for prompt, completion in zip(prompts, completions, strict=True)
    ]


def test_known_log_probs_are_not_computed_again_and_equal_sequences_only_once(tmp_path: Path) -> None:
    seen: list[list[int]] = []

    def count(prompts: list[list[int]], completions: list[list[int]]) -> list[float]:
        seen.extend(prompts)
        return compute(prompts, completions)

    first = ReferenceCache(tmp_path, "hash", "fp32").fill(SEQUENCES, count, alone)
    assert len(seen) == 3 and first[0] == first[2]
    again = ReferenceCache(tmp_path, "hash", "fp32").fill(SEQUENCES, count, alone)
    assert again == first and len(seen) == 3


def test_another_model_or_number_type_has_its_own_values(tmp_path: Path) -> None:
    paths = {ReferenceCache(tmp_path, *key).path for key in (("a", "fp32"), ("b", "fp32"), ("a", "bf16"))}
    assert len(paths) == 3


def test_an_interrupted_pass_keeps_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prefboost.training.reference._SAVE_EVERY_S", -1.0)
    done: list[int] = []

    def fail_at_third(prompts: list[list[int]], completions: list[list[int]]) -> list[float]:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(1)
        return compute(prompts, completions)

    with pytest.raises(KeyboardInterrupt):
        ReferenceCache(tmp_path, "hash", "fp32").fill(SEQUENCES, fail_at_third, alone)
    rest: list[list[int]] = []
    ReferenceCache(tmp_path, "hash", "fp32").fill(SEQUENCES, lambda p, c: (rest.extend(p), compute(p, c))[1], alone)
    assert len(rest) == 1


def test_log_probs_find_their_views() -> None:
    units = pa.table(
        {
            "view": [["chosen", "rejected"], ["plain"]],
            "prompt_ids": [[[1], [2]], [[3]]],
            "chosen_ids": [[[10], [20]], [[30]]],
            "rejected_ids": [[[11], [21]], [[31]]],
        }
    )
    sequences = sequences_of(units)
    assert sequences.prompts == [[1], [2], [3]] * 2
    assert sequences.completions == [[10], [20], [30], [11], [21], [31]]
    found = with_reference(units, [-float(c[0]) for c in sequences.completions])
    assert found["ref_chosen"].to_pylist() == [[-10, -20], [-30]]
    assert found["ref_rejected"].to_pylist() == [[-11, -21], [-31]]
