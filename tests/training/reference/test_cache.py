"""The reference's log-probs are computed once for every sequence, whatever happens in between."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from prefboost.training.reference.cache import (
    ReferenceCache,
    Sequences,
    find_reference_cache,
    sequences_of,
    with_reference,
)

SEQUENCES = Sequences([[1], [2], [1], [3, 4]], [[5], [6], [5], [7]])


def alone(wanted: Sequences) -> list[list[int]]:
    return [[index] for index in range(len(wanted.prompts))]


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
    paths = {ReferenceCache(tmp_path, *key).place for key in (("a", "fp32"), ("b", "fp32"), ("a", "bf16"))}
    assert len(paths) == 3


def test_an_interrupted_pass_keeps_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prefboost.training.reference.cache._SAVE_EVERY_S", -1.0)
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


def test_processes_that_write_at_once_lose_nothing_and_files_are_merged(tmp_path: Path) -> None:
    caches = [ReferenceCache(tmp_path, "hash", "fp32") for _ in range(20)]
    for number, cache in enumerate(caches):
        cache.fill(Sequences([[number]], [[number + 1]]), compute, alone)
    files = list(caches[0].place.iterdir())
    assert len(files) < 20 and all(file.suffix == ".npz" for file in files)
    everything = Sequences([[n] for n in range(20)], [[n + 1] for n in range(20)])

    def never(prompts: list[list[int]], completions: list[list[int]]) -> list[float]:
        raise AssertionError("computed again")

    found = ReferenceCache(tmp_path, "hash", "fp32").fill(everything, never, alone)
    assert found == compute(everything.prompts, everything.completions)  # type: ignore[arg-type]


def test_a_damaged_file_is_left_out_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = ReferenceCache(tmp_path, "hash", "fp32")
    found = cache.fill(SEQUENCES, compute, alone)
    (file,) = cache.place.iterdir()
    file.write_bytes(file.read_bytes()[:40])
    assert ReferenceCache(tmp_path, "hash", "fp32").fill(SEQUENCES, compute, alone) == found
    assert "cannot be read" in caplog.text


def test_the_cache_lies_where_it_is_told_or_with_other_caches() -> None:
    assert find_reference_cache("/a/b", {"PREFBOOST_CACHE": "/c"}) == Path("/a/b")
    assert find_reference_cache(None, {"PREFBOOST_CACHE": "/c"}) == Path("/c/reference")
    assert find_reference_cache(None, {"XDG_CACHE_HOME": "/x"}).parts[-2:] == ("prefboost", "reference")


def test_a_value_that_is_not_finite_is_returned_and_never_stored(tmp_path: Path) -> None:
    fresh = ReferenceCache(tmp_path, "hash", "fp32")
    assert np.isnan(fresh.fill(SEQUENCES, lambda prompts, _: [float("nan")] * len(prompts), alone)).all()
    assert not list(tmp_path.rglob("*.npz"))
    # A file of an earlier version may hold some.
    fresh.place.mkdir(parents=True)
    np.savez(fresh.place / "old.npz", keys=np.zeros((1, 16), np.uint8), logps=np.array([np.nan], np.float32))
    again = ReferenceCache(tmp_path, "hash", "fp32")
    assert not again._known and np.isfinite(again.fill(SEQUENCES, compute, alone)).all()
