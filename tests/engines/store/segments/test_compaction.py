"""Compaction: fewer segments and the same rows, wherever it is killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefboost.engines.store.segments.blocks import Event, encode_block, encode_segment
from prefboost.engines.store.segments.compaction import FAN, compact, remove_replaced
from prefboost.engines.store.segments.index import SegmentIndex
from prefboost.engines.store.segments.reader import SegmentReader
from prefboost.shelf import Shelf, open_shelf


class Killed(BaseException):
    """Stands for a kill between two operations on a disk."""


def fill(folder: Path, count: int = FAN) -> Shelf:
    shelf = open_shelf(folder)
    for number in range(count):
        shelf.write(f"rows/w-{number}-0.seg", encode_segment([make_event(number), make_event(0, number)], {}))
    return shelf


def make_event(number: int, stamp: int | None = None) -> Event:
    return Event(f"k{number}", number if stamp is None else stamp, "w", "generate", "{}", f'{{"n": {stamp or number}}}')


def read(shelf: Shelf) -> SegmentReader:
    reader = SegmentReader(shelf, SegmentIndex())
    reader.refresh(lambda _: False)
    return reader


def rows(reader: SegmentReader) -> list[object]:
    return list(reader.index.rows(None))


def test_many_small_segments_become_one_of_the_same_rows(tmp_path: Path) -> None:
    shelf = fill(tmp_path)
    before = rows(read(shelf))
    reader = read(shelf)
    assert compact(reader, lambda _: True, lambda level: f"new-1-{level}.seg") == FAN
    assert rows(reader) == rows(read(shelf)) == before
    assert len(shelf.list_files("rows")) == FAN + 1, "what was replaced stays for those who read it now"
    assert remove_replaced(reader, 600.0) == 0
    assert remove_replaced(reader, 0.0) == FAN and list(shelf.list_files("rows")) == ["new-1-1.seg"]
    assert rows(read(shelf)) == before
    assert compact(read(shelf), lambda _: True, lambda level: "never") == 0


def test_too_few_and_those_of_others_stay(tmp_path: Path) -> None:
    assert compact(read(fill(tmp_path, FAN - 1)), lambda _: True, lambda level: "never") == 0
    assert compact(read(fill(tmp_path, FAN)), lambda name: name != "w-3-0.seg", lambda level: "never") == 0


@pytest.mark.parametrize("at", range(8))
def test_a_kill_at_any_point_leaves_every_row_once(at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = fill(tmp_path)
    before = rows(read(shelf))
    reader, steps = read(shelf), iter(range(at))

    def die_at_some_point(work):  # type: ignore[no-untyped-def]
        def step(name, *args, **kwargs):  # type: ignore[no-untyped-def]
            if next(steps, None) is None:
                raise Killed
            return work(name, *args, **kwargs)

        return step

    with monkeypatch.context() as patch, pytest.raises(Killed):
        for name in ("write", "remove"):
            patch.setattr(shelf, name, die_at_some_point(getattr(shelf, name)))
        compact(reader, lambda _: True, lambda level: f"new-1-{level}.seg")
        remove_replaced(reader, 0.0)
    after = read(shelf)
    assert rows(after) == before
    # The next one goes on where that one was killed.
    compact(after, lambda _: True, lambda level: f"next-1-{level}.seg")
    remove_replaced(after, 0.0)
    assert len(shelf.list_files("rows")) == 1 and rows(read(shelf)) == before


def test_a_damaged_segment_is_left_out_and_kept_aside_once_it_is_rescued(tmp_path: Path) -> None:
    shelf = fill(tmp_path, FAN + 1)
    damaged = bytearray(shelf.read("rows/w-5-0.seg"))
    damaged[50] ^= 1
    shelf.write("rows/w-5-0.seg", bytes(damaged))
    reader = read(shelf)
    assert set(reader.damage) == {"w-5-0.seg"}
    assert compact(reader, lambda _: True, lambda level: f"new-1-{level}.seg") == FAN
    reader.rescue("w-5-0.seg", "sound-1-0.seg")
    remove_replaced(reader, 0.0)
    assert set(shelf.list_files("rows")) == {"new-1-1.seg", "sound-1-0.seg"}
    assert shelf.read("damaged/w-5-0.seg") == bytes(damaged)


def test_a_segment_that_grew_after_all_is_not_removed(tmp_path: Path) -> None:
    shelf = fill(tmp_path, FAN - 1)
    shelf.append("rows/v-1.log", encode_block([make_event(100)], 0))
    reader = read(shelf)
    assert compact(reader, lambda _: True, lambda level: f"new-1-{level}.seg") == FAN
    shelf.append("rows/v-1.log", encode_block([make_event(101)], 1))
    remove_replaced(reader, 0.0)
    assert set(shelf.list_files("rows")) == {"new-1-1.seg", "v-1.log"}
    assert "k101" in [row.key for row in read(shelf).index.rows(None)]


def test_the_segment_of_a_killed_writer_goes_with_the_half_block_at_its_end(tmp_path: Path) -> None:
    shelf = fill(tmp_path, FAN - 1)
    shelf.append("rows/v-1.log", encode_block([make_event(100)], 0) + encode_block([make_event(101)], 1)[:-3])
    reader = read(shelf)
    assert compact(reader, lambda _: True, lambda level: f"new-1-{level}.seg") == FAN
    remove_replaced(reader, 0.0)
    assert set(shelf.list_files("rows")) == {"new-1-1.seg"}
    assert "k100" in [row.key for row in read(shelf).index.rows(None)]
