"""Finished batches are taken from the store, unfinished ones are computed whole."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from prefboost.engines.desk import Desk
from prefboost.engines.store.store import Store
from prefboost.progress import WorkProgress
from prefboost.scoring.stored import fill_numbers, key_of_ids

KEYS = ["a", "b", "a", "c", "d"]
RIGHT = [[float(ord(key))] for key in KEYS]


def in_twos(first: list[int]) -> list[list[int]]:
    return [first[at : at + 2] for at in range(0, len(first), 2)]


class Counting:
    def __init__(self, fails_at: int = 99) -> None:
        self.batches: list[list[str]] = []
        self.fails_at = fails_at

    def __call__(self, batch: Sequence[int]) -> list[list[float]]:
        if len(self.batches) == self.fails_at:
            raise KeyboardInterrupt
        self.batches.append([KEYS[index] for index in batch])
        return [[float(ord(KEYS[index]))] for index in batch]


def test_equal_keys_are_computed_once() -> None:
    compute = Counting()
    told: list[WorkProgress] = []
    assert fill_numbers(KEYS, in_twos, compute, Desk(tell=told.append), "x") == RIGHT
    assert compute.batches == [["a", "b"], ["c", "d"]] and [each.done for each in told] == [0, 2, 4]


def test_an_interrupted_call_loses_no_finished_batch(tmp_path: Path) -> None:
    with Store(tmp_path / "s") as store, pytest.raises(KeyboardInterrupt):
        fill_numbers(KEYS, in_twos, Counting(fails_at=1), Desk(store), "x")
    again = Counting()
    with Store(tmp_path / "s") as store:
        told: list[WorkProgress] = []
        assert fill_numbers(KEYS, in_twos, Counting(), Desk(store, partial=True), "x") == [*RIGHT[:3], None, None]
        assert fill_numbers(KEYS, in_twos, again, Desk(store, tell=told.append), "x") == RIGHT
    assert again.batches == [["c", "d"]] and (told[-1].done, told[-1].stored) == (4, 2)


def test_keys_tell_models_prompts_and_completions_apart() -> None:
    keys = {key_of_ids("m", [1, 2], [3]), key_of_ids("m", [1], [2, 3]), key_of_ids("n", [1, 2], [3]),
            key_of_ids("m", [1, 23]), key_of_ids("m", [12, 3])}  # fmt: skip
    assert len(keys) == 5
