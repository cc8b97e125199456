"""Finished batches are taken from the journal, unfinished ones are computed whole."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from prefboost.errors import RunError
from prefboost.scoring.stored import Numbers, ScoreJournal, filled, key_of_ids

KEYS = ["a", "b", "a", "c", "d"]


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
    told: list[tuple[int, int, int]] = []
    found = filled(KEYS, in_twos, compute, None, lambda *counts: told.append(counts))
    assert found == [[float(ord(key))] for key in KEYS]
    assert compute.batches == [["a", "b"], ["c", "d"]] and told == [(4, 0, 0), (4, 2, 0), (4, 4, 0)]


def test_an_interrupted_call_loses_no_finished_batch(tmp_path: Path) -> None:
    with ScoreJournal(tmp_path / "j", Numbers) as journal, pytest.raises(KeyboardInterrupt):
        filled(KEYS, in_twos, Counting(fails_at=1), journal, lambda *_: None)
    with (tmp_path / "j").open("a") as file:
        file.write('{"key": "c", "values": [9')  # a killed process's half line
    again = Counting()
    with ScoreJournal(tmp_path / "j", Numbers) as journal:
        told: list[tuple[int, int, int]] = []
        found = filled(KEYS, in_twos, again, journal, lambda *counts: told.append(counts))
    assert found == [[float(ord(key))] for key in KEYS]
    assert again.batches == [["c", "d"]] and told[-1] == (4, 4, 2)


def test_another_journal_is_refused(tmp_path: Path) -> None:
    (tmp_path / "j").write_text('{"key": "a", "text": "generated"}\n')
    with pytest.raises(RunError, match="not a line of a journal"), ScoreJournal(tmp_path / "j", Numbers):
        pass


def test_keys_tell_models_prompts_and_completions_apart() -> None:
    keys = {key_of_ids("m", [1, 2], [3]), key_of_ids("m", [1], [2, 3]), key_of_ids("n", [1, 2], [3]),
            key_of_ids("m", [1, 23]), key_of_ids("m", [12, 3])}  # fmt: skip
    assert len(keys) == 5
