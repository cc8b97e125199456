"""The store of segments: clocks that jump, writers that were taken for dead, damage, and what lies on the disk."""

from __future__ import annotations

import logging
import time
import uuid
from pathlib import Path

import pytest

from prefboost.engines.budget import Spend
from prefboost.engines.engine import Failure
from prefboost.engines.store.interface import SEAL, StoreQuery
from prefboost.engines.store.segments import store as module
from prefboost.engines.store.segments.blocks import encode_segment
from prefboost.engines.store.segments.index import build_event
from prefboost.engines.store.segments.store import SegmentStore, find_damage
from prefboost.errors import RunError

ROWS = [StoreQuery("generate", {"n": number}) for number in range(200)]
KEYS = [row.key for row in ROWS]
HOURS = 3600 * 10**9


def answer(number: int) -> dict[str, str]:
    return {"text": f"answer {number} " * 5}


def keep(store: SegmentStore, *numbers: int) -> None:
    store.finish([(ROWS[number], answer(number)) for number in numbers])


@pytest.fixture(params=["folder", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "s") if request.param == "folder" else f"memory://{uuid.uuid4().hex}/s"


def segments(place: str, folder: str = "rows") -> list[str]:
    with SegmentStore(place, read_only=True) as store:
        return sorted(store.shelf.list_files(folder))


def test_clocks_that_jump_by_hours_change_neither_order_nor_claims(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time_ns()
    jumps = iter([0, 5, -7, 3, -2, 0, 9, -9])

    def jump() -> int:
        return now + next(jumps, -4) * HOURS

    monkeypatch.setattr(time, "time_ns", jump)
    monkeypatch.setattr(time, "time", lambda: jump() / 1e9)
    with SegmentStore(place) as first, SegmentStore(place) as second:
        first.claim(ROWS[:10])
        for number in range(10):
            assert second.claim(ROWS[:10]).granted == []
            keep(first, number)
        assert [row.key for row in second.rows()] == KEYS[:10], "what a writer kept later stands behind it"
        # It has seen all that, so that what it keeps comes last, however late its clock says it is.
        second._refreshed_at = -1e9
        assert second.claim(ROWS[10:12]).granted == KEYS[10:12]
        keep(second, 10, 11)
        assert first.finish([(ROWS[10], {"text": "another"})])[KEYS[10]] in (answer(10), {"text": "another"})
    with SegmentStore(place) as store:
        assert [row.key for row in store.rows()][:10] == KEYS[:10] and len(list(store.rows())) == 12


def test_of_two_answers_all_readers_see_the_same(place: str) -> None:
    with SegmentStore(place) as first, SegmentStore(place) as second:
        keep(first, 0)
        # As of a process that stood still while its claim was taken over: it had an earlier clock.
        event = build_event(KEYS[0], "generate", ROWS[0].text, {"text": "second"}, (1, "w"))
        first.shelf.write("rows/w-1-0.seg", encode_segment([event], {}))
        for store in (first, second):
            assert [row.stored for row in store.rows()] == [{"text": "second"}]
    with SegmentStore(place, read_only=True) as reader:
        assert [row.stored for row in reader.rows()] == [{"text": "second"}]


def test_many_openings_leave_few_segments_and_no_claims(place: str) -> None:
    for number in range(70):
        with SegmentStore(place, grace_s=0.0) as store:
            keep(store, number)
    assert len(segments(place)) < 40 and segments(place, "live") == []
    with SegmentStore(place, read_only=True) as store:
        assert [row.key for row in store.rows()] == KEYS[:70]


def test_a_process_makes_fewer_of_its_own_objects_while_it_works() -> None:
    place = f"memory://{uuid.uuid4().hex}/s"
    with SegmentStore(place, grace_s=0.0) as store:
        for number in range(200):
            keep(store, number)
        assert len(store.shelf.list_files("rows")) < 100
        assert [row.key for row in store.rows()] == KEYS


def test_a_large_segment_is_closed_and_another_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SEGMENT_BYTES", 300)
    with SegmentStore(tmp_path) as store:
        for number in range(12):
            keep(store, number)
        names = store.shelf.list_files("rows")
        assert len(names) > 3 and sum(name.endswith(".log") for name in names) <= 1
    with SegmentStore(tmp_path, read_only=True) as store:
        assert len(list(store.rows())) == 12


def test_rows_of_a_writer_that_was_taken_for_dead_are_written_anew(tmp_path: Path) -> None:
    with SegmentStore(tmp_path) as store:
        keep(store, 0)
        # The machine stood still; another process has put the segment into a larger one, and removed it.
        store._claims._beaten_at -= 3600.0
        (name,) = store.shelf.list_files("rows")
        store.shelf.remove(f"rows/{name}")
        keep(store, 1)
        assert len(store.shelf.list_files("rows")) == 1
    with SegmentStore(tmp_path) as store:
        assert store.find_answers(KEYS) == {KEYS[1]: answer(1)}


def test_a_damaged_segment_is_named_counted_and_rebuilt_of_what_is_asked_again(
    place: str, caplog: pytest.LogCaptureFixture
) -> None:
    with SegmentStore(place) as store:
        for start in (0, 10, 20):
            keep(store, *range(start, start + 10))
    with SegmentStore(place, read_only=True) as store:
        shelf, name = store.shelf, sorted(store.shelf.list_files("rows"))[0]
        data = bytearray(shelf.read(f"rows/{name}"))
        data[len(data) // 2 if shelf.appends else 60] ^= 0xFF
    shelf.write(f"rows/{name}", bytes(data))
    assert "10 rows lost" in (find_damage(place) or "")
    caplog.clear()
    with SegmentStore(place, grace_s=0.0) as store:
        assert f"rows/{name} is damaged: by its checksums 10 rows cannot be read" in caplog.text
        missing = [key for key in KEYS[:30] if key not in store.find_answers(KEYS)]
        assert len(missing) == 10 and store.claim(ROWS[:30]).granted == missing
        keep(store, *(KEYS.index(key) for key in missing))
    caplog.clear()
    assert find_damage(place) is None and caplog.records == []
    with SegmentStore(place) as store:
        assert store.find_answers(KEYS) == {KEYS[number]: answer(number) for number in range(30)}
    assert segments(place, "damaged") == [name], "the damaged one is kept aside"


def test_a_larger_segment_that_is_damaged_is_rebuilt_of_the_smaller_ones(
    place: str, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(33):
        with SegmentStore(place, grace_s=3600.0) as store:
            keep(store, number)
    with SegmentStore(place, read_only=True) as store:
        (name,) = [name for name in store.shelf.list_files("rows") if name.endswith("-1.seg")]
        data, shelf = bytearray(store.shelf.read(f"rows/{name}")), store.shelf
        data[60] ^= 0xFF
    shelf.write(f"rows/{name}", bytes(data))
    for expected in (f"rows/{name} is damaged: 32 rows cannot be read; they stand in the segments", ""):
        caplog.clear()
        with SegmentStore(place) as store:
            assert len(store.find_answers(KEYS)) == 33
        assert (expected in caplog.text) if expected else not caplog.records


def test_another_version_and_a_sealed_store_are_refused(place: str) -> None:
    with SegmentStore(place) as store:
        keep(store, 0)
        shelf = store.shelf
        shelf.write(SEAL, b"")
    with SegmentStore(place) as store:
        assert store.claim(ROWS[:1]).known == {KEYS[0]: answer(0)}
        with pytest.raises(RunError, match="1 answers are in no shard"):
            store.claim(ROWS[:2])
    shelf.write("segments.json", b'{"version": 99}')
    with pytest.raises(RunError, match="another version of prefboost wrote this store"), SegmentStore(place):
        pass


def test_rows_of_another_store_are_taken_over_with_their_times(place: str, tmp_path: Path) -> None:
    with SegmentStore(tmp_path / "one") as one:
        keep(one, 0, 1)
        one.finish([(ROWS[2], Failure("bad", 3))])
        rows = list(one.rows())
    for _ in range(2):
        with SegmentStore(place) as store:
            store.import_store(rows, Spend(4, 1, 1, 0.0), "one")
            assert [(row.key, row.stored) for row in store.rows()] == [(row.key, row.stored) for row in rows]
            assert store.book().total().requests == 4


def test_an_index_without_room_says_where_it_is_kept(place: str, caplog: pytest.LogCaptureFixture) -> None:
    with SegmentStore(place) as store:
        store._index._connection.execute("PRAGMA max_page_count = 1")
        with pytest.raises(RunError, match="the index of the store cannot be kept in"):
            store.finish([(row, {"text": "x" * 3000}) for row in ROWS])
    assert caplog.records == [] or all(record.levelno < logging.WARNING for record in caplog.records)
