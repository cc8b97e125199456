"""Stores of shards become one."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefboost.engines.budget import Budget, Spend
from prefboost.engines.engine import Failure
from prefboost.engines.store.interface import Stored, StoreQuery
from prefboost.engines.store.merge import check_intact, forbid_computation, merge_stores
from prefboost.engines.store.store import Store
from prefboost.errors import RunError


def query(number: int) -> StoreQuery:
    return StoreQuery("generate", {"n": number})


def fill(folder: Path, answers: dict[int, Stored], requests: int = 0) -> Path:
    with Store(folder) as store:
        store.finish([(query(number), answer) for number, answer in answers.items()])
        store.book().add(Spend(requests, 10 * requests, requests, 0.5 * requests), Budget())
    return folder


def test_answers_and_costs_are_added_up_and_answers_replace_failures(tmp_path: Path) -> None:
    failure = Failure("no answer", 3, permanent=False)
    first = fill(tmp_path / "a", {1: {"text": "one"}, 2: failure, 3: failure}, requests=4)
    second = fill(tmp_path / "b", {2: {"text": "two"}, 1: {"text": "another one"}}, requests=2)
    for _ in range(2):  # again: the same
        assert merge_stores(tmp_path / "all", [first, second]) == 3
        with Store(tmp_path / "all", retry="none") as store:
            answers = store.find_answers([query(number).key for number in (1, 2, 3)])
            assert answers == {
                query(1).key: {"text": "one"},
                query(2).key: {"text": "two"},
                query(3).key: failure,
            }
            assert store.book().total() == Spend(6, 60, 6, 3.0)


def test_a_store_with_answers_of_its_own_is_not_touched(tmp_path: Path) -> None:
    target = fill(tmp_path / "all", {7: {"text": "paid for"}})
    before = (target / "rows.sqlite").read_bytes()
    with pytest.raises(RunError, match="other answers"):
        merge_stores(target, [fill(tmp_path / "a", {1: {"text": "one"}})])
    assert (target / "rows.sqlite").read_bytes() == before


def test_a_sealed_store_grants_nothing_until_the_seal_is_off(tmp_path: Path) -> None:
    folder = fill(tmp_path / "a", {1: {"text": "one"}})
    with forbid_computation(folder), Store(folder) as store:
        assert store.claim([query(1)]).known == {query(1).key: {"text": "one"}}
        with pytest.raises(RunError, match="1 answers are in no shard"):
            store.claim([query(1), query(2)])
    with Store(folder) as store:
        assert store.claim([query(2)]).granted == [query(2).key]


def test_a_damaged_file_is_noticed(tmp_path: Path) -> None:
    folder = fill(tmp_path / "a", {number: {"text": "one" * 50} for number in range(200)})
    assert check_intact(folder) is None
    file = folder / "rows.sqlite"
    content = bytearray(file.read_bytes())
    content[8192:16384] = b"\xff" * 8192
    file.write_bytes(content)
    assert check_intact(folder) is not None
    assert check_intact(tmp_path / "none") is not None
