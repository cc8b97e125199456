"""Which store a place names, and what all kinds of stores have in common."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from prefboost.engines.budget import Budget, Spend
from prefboost.engines.engine import Failure
from prefboost.engines.store.interface import StoreQuery
from prefboost.engines.store.opening import find_segments, has_store, open_store
from prefboost.engines.store.segments.store import SegmentStore
from prefboost.engines.store.store import Store
from prefboost.errors import RunError

ROWS = [StoreQuery("generate", {"prompt": f"p{number} \ud800", "sample": number}) for number in range(8)]
KEYS = [row.key for row in ROWS]
ANSWER = {"text": "Yes \ud800 é", "tokens": 2}
UNSAFE = Failure("unsafe", 1, permanent=True, content=True)


@pytest.fixture(params=["sqlite", "segments", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    kinds = {"sqlite": "", "segments": "segments:", "memory": f"memory://{uuid.uuid4().hex}"}
    return f"{kinds[request.param]}{tmp_path / 'out.store'}"


def test_a_store_is_chosen_by_its_place(tmp_path: Path) -> None:
    folder = tmp_path / "x.store"
    assert isinstance(open_store(folder), Store) and not has_store(folder)
    assert find_segments("segments:/nfs/x") == "/nfs/x" and find_segments(Path("segments:x")) == "x"
    assert find_segments(Path("s3://bucket/x.store")) == "s3://bucket/x.store"
    with open_store(f"segments:{folder}") as store:
        assert isinstance(store, SegmentStore)
    # Known again without its prefix, so that nobody has to remember it.
    assert isinstance(open_store(folder), SegmentStore) and has_store(folder)
    with open_store(tmp_path / "y.store"):
        pass
    with pytest.raises(RunError, match="is a store of SQLite"), open_store(f"segments:{tmp_path / 'y.store'}"):
        pass
    assert isinstance(open_store(tmp_path / "y.store"), Store)


def test_an_address_whose_library_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    def refuse(address: str) -> None:
        raise ImportError("Install adlfs to access Azure")

    monkeypatch.setattr(fsspec.core, "url_to_fs", refuse)
    for use in (lambda: has_store("abfs://c/x"), lambda: open_store("abfs://c/x").__enter__()):
        with pytest.raises(RunError, match=r"abfs://c/x: .*Install adlfs"):
            use()


def test_answers_and_refusals_survive_and_passing_failures_are_asked_again(place: str) -> None:
    with open_store(place) as store:
        assert store.claim(ROWS[:3]).granted == KEYS[:3]
        store.finish([(ROWS[0], ANSWER), (ROWS[1], UNSAFE), (ROWS[2], Failure("500", 6))])
        assert store.claim(ROWS[:3]).known.keys() == set(KEYS[:3]), "in one call a failure is final"
    with open_store(place) as store:
        assert store.find_answers(KEYS) == {KEYS[0]: ANSWER, KEYS[1]: UNSAFE}
        assert store.claim(ROWS[:3]).granted == [KEYS[2]]
        store.finish([(ROWS[2], Failure("500", 6))])
        assert list(store.rows())[-1].stored == Failure("500", 12), "attempts add up over calls"
    with open_store(place) as store:
        store.claim(ROWS[2:3])
        store.finish([(ROWS[2], ANSWER)])
        rows = list(store.rows())
        assert [row.stored for row in rows].count(ANSWER) == 2 and len(rows) == 3
        assert [row.asked for row in rows] == [ROWS[index].parts for index in (1, 0, 2)] or rows[0].key == KEYS[0]


def test_what_was_claimed_and_not_finished_is_free_again(place: str) -> None:
    with open_store(place) as store:
        store.claim(ROWS[1:])
        with open_store(place) as other:
            assert other.claim(ROWS).granted == KEYS[:1]
            assert other.claim(ROWS[1:]).held == KEYS[1:]
    with open_store(place) as store:
        assert store.claim(ROWS).granted == KEYS
        assert list(store.rows()) == []


def test_a_batch_is_claimed_whole_or_not_at_all(place: str) -> None:
    with open_store(place) as store, open_store(place) as other:
        other.claim(ROWS[3:4])
        assert store.claim(ROWS, whole=True).granted == []
        assert other.claim(ROWS[:3], whole=True).granted == KEYS[:3]


def test_what_another_one_finished_is_known_and_the_first_answer_stays(place: str) -> None:
    with open_store(place) as slow, open_store(place) as fast:
        fast.claim(ROWS[:1])
        assert slow.claim(ROWS[:2]).held == KEYS[:1]
        fast.finish([(ROWS[0], ANSWER)])
        assert slow.claim(ROWS[2:3]).granted == KEYS[2:3]
        assert slow.finish([(ROWS[0], {"text": "later"})]) == {KEYS[0]: ANSWER}
        assert [row.stored for row in slow.rows()] == [ANSWER]


@pytest.mark.parametrize(("retry", "again"), [("none", []), ("failed", [1, 2]), ("refused", [1, 2, 3])])
def test_what_is_asked_again_is_what_was_told(place: str, retry: str, again: Sequence[int]) -> None:
    with open_store(place) as store:
        store.claim(ROWS[:4])
        failures = [Failure("500", 6), Failure("no max_tokens", 1, permanent=True), UNSAFE]
        store.finish([(ROWS[0], ANSWER), *zip(ROWS[1:4], failures, strict=True)])
    with open_store(place, retry=retry) as store:  # type: ignore[arg-type]
        assert store.failures(KEYS) == dict(zip(KEYS[1:4], failures, strict=True))
        assert [key for key in KEYS[:4] if key not in store.find_answers(KEYS)] == [KEYS[index] for index in again]
        assert store.claim(ROWS[:4]).granted == [KEYS[index] for index in again]


def test_costs_of_all_calls_are_one_sum_within_the_budget(place: str) -> None:
    budget = Budget(requests=3)
    with open_store(place) as store:
        assert store.book().add(Spend(2, 30, 30, 0.5), budget)
    with open_store(place) as store:
        assert not store.book().add(Spend(2, 1, 1, 0.0), budget)
        assert store.book().add(Spend(1, 20, 20, 0.5), budget) and store.book().total() == Spend(3, 50, 50, 1.0)


def test_a_reader_changes_nothing(place: str) -> None:
    with open_store(place, read_only=True) as store:
        assert list(store.rows()) == [] and store.book().total() == Spend()
    assert not has_store(place) or not place.startswith(("segments:", "memory:"))
    with open_store(place) as store:
        store.finish([(ROWS[0], ANSWER)])
        with open_store(place, retry="none", read_only=True) as reader, reader.exclude_others():
            assert reader.find_answers(KEYS) == {KEYS[0]: ANSWER}


def test_the_number_type_is_found_again(place: str) -> None:
    from prefboost.devices import numbers

    for _ in range(2):
        with open_store(place) as store:
            path, writes = numbers._RECORDS[-1]
            assert writes
            if not path.exists():
                path.write_text('{"numbers": "bfloat16"}')
            assert numbers._read_choice(path) == "bfloat16"
            store.claim(ROWS[:1])


def test_output_is_written_by_one_at_a_time(place: str) -> None:
    order: list[str] = []
    with open_store(place) as store:
        for name in "ab":
            with store.exclude_others():
                order.append(name)
    assert order == ["a", "b"]


def refuse_writing(work: Callable[[], object]) -> str:
    with pytest.raises(RunError) as caught:
        work()
    return str(caught.value)


@pytest.mark.parametrize("prefix", ["", "segments:"])
def test_a_folder_that_cannot_be_written_is_named(prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_store(f"{prefix}{tmp_path / 's'}") as store:
        store.finish([(ROWS[0], ANSWER)])
    # Root may write anywhere, so what the system would say is said here.
    open_file = os.open

    def refuse(path: object, flags: int, *args: object, **kwargs: object) -> int:
        if str(path).startswith(str(tmp_path)) and flags & (os.O_WRONLY | os.O_RDWR):
            raise PermissionError(13, "Permission denied", str(path))
        return open_file(path, flags, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refuse)
    real = Path.write_bytes

    def refuse_bytes(path: Path, data: bytes) -> int:
        if str(path).startswith(str(tmp_path)):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, data)

    monkeypatch.setattr(Path, "write_bytes", refuse_bytes)
    error = refuse_writing(lambda: open_store(f"{prefix}{tmp_path / 's'}").__enter__())
    assert "cannot be written" in error and "writable folder with --store" in error and str(tmp_path / "s") in error
    with open_store(f"{prefix}{tmp_path / 's'}", read_only=True) as store:
        assert store.find_answers(KEYS) == {KEYS[0]: ANSWER}
