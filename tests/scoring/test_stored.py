"""Finished batches are taken from the store, unfinished ones are computed whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from prefboost.engines.call_session import CallSession
from prefboost.engines.store.store import Store
from prefboost.progress import WorkProgress
from prefboost.scoring.stored import compute_numbers, key_of_ids

KEYS = ["a", "b", "a", "c", "d"]
RIGHT = [[float(ord(key))] for key in KEYS]


def in_twos(piece: list[str]) -> list[range]:
    return [range(at, min(at + 2, len(piece))) for at in range(0, len(piece), 2)]


class Counting:
    def __init__(self, fails_at: int = 99) -> None:
        self.batches: list[list[str]] = []
        self.fails_at = fails_at

    def __call__(self, batch: list[str]) -> list[list[float]]:
        if len(self.batches) == self.fails_at:
            raise KeyboardInterrupt
        self.batches.append(batch)
        return [[float(ord(key))] for key in batch]


def compute_all(
    compute: Counting, session: CallSession, keys: Sequence[str] = KEYS, **how: Any
) -> list[list[float] | None]:
    sequences = ((at, key, key) for at, key in enumerate(keys))
    found = dict(compute_numbers(sequences, len(keys), in_twos, compute, session, "x", **how))
    return [found[at] for at in range(len(keys))]


def test_equal_keys_are_computed_once() -> None:
    compute = Counting()
    told: list[WorkProgress] = []
    assert compute_all(compute, CallSession(tell=told.append)) == RIGHT
    assert compute.batches == [["a", "b"], ["c", "d"]] and [each.done for each in told] == [0, 3, 5]


def test_an_interrupted_call_loses_no_finished_batch(tmp_path: Path) -> None:
    with Store(tmp_path / "s") as store, pytest.raises(KeyboardInterrupt):
        compute_all(Counting(fails_at=1), CallSession(store))
    again = Counting()
    with Store(tmp_path / "s") as store:
        told: list[WorkProgress] = []
        assert compute_all(Counting(), CallSession(store, partial=True)) == [*RIGHT[:3], None, None]
        assert compute_all(again, CallSession(store, tell=told.append)) == RIGHT
    assert again.batches == [["c", "d"]] and (told[-1].done, told[-1].stored) == (5, 3)


@pytest.mark.parametrize("with_store", [True, False])
@pytest.mark.parametrize("at_once", [1, 3])
def test_pieces_are_drawn_as_they_are_computed_and_give_the_same(
    tmp_path: Path, with_store: bool, at_once: int
) -> None:
    keys = [chr(ord("a") + at % 7) for at in range(40)]
    drawn: list[int] = []
    ahead: list[int] = []

    def draw() -> Iterator[tuple[int, str, str]]:
        for at, key in enumerate(keys):
            drawn.append(at)
            yield at, f"{at}", key

    with ExitStack() as stack:
        store = stack.enter_context(Store(tmp_path / "s")) if with_store else None
        found: dict[int, list[float] | None] = {}
        numbers = compute_numbers(
            draw(), 40, in_twos, Counting(), CallSession(store), "x", at_once=at_once, piece_items=4
        )
        for at, each in numbers:
            found[at] = each
            ahead.append(len(drawn) - len(found))
    assert [found[at] for at in range(40)] == [[float(ord(key))] for key in keys]
    assert max(ahead) <= 4 * (at_once + 1), "no more is held than the pieces that are being computed"


def test_items_without_a_sequence_count_as_done() -> None:
    told: list[WorkProgress] = []
    sequences = [(1, "a", "a"), (4, "b", "b")]
    assert dict(compute_numbers(sequences, 6, in_twos, Counting(), CallSession(tell=told.append), "x")) == {
        1: [97.0],
        4: [98.0],
    }
    assert (told[0].total, told[-1].done) == (6, 6)


def test_keys_tell_models_prompts_and_completions_apart() -> None:
    keys = {key_of_ids("m", [1, 2], [3]), key_of_ids("m", [1], [2, 3]), key_of_ids("n", [1, 2], [3]),
            key_of_ids("m", [1, 23]), key_of_ids("m", [12, 3])}  # fmt: skip
    assert len(keys) == 5
