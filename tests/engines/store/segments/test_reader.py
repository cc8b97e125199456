"""Reading segments: what is new, what was replaced, and what is damaged, by name and number."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from prefboost.engines.store.segments import reader as module
from prefboost.engines.store.segments.blocks import Event, encode_block, encode_end, encode_segment
from prefboost.engines.store.segments.index import SegmentIndex
from prefboost.engines.store.segments.reader import SegmentReader, level_of, writer_of
from prefboost.shelf import Shelf, open_shelf


def make_events(*numbers: int) -> list[Event]:
    return [Event(f"k{number}", number, "w", "generate", "{}", f'{{"n": {number}}}') for number in numbers]


def build(folder: Path) -> tuple[Shelf, SegmentReader]:
    shelf = open_shelf(folder)
    return shelf, SegmentReader(shelf, SegmentIndex())


def keys(reader: SegmentReader) -> list[str]:
    return [row.key for row in reader.index.rows(None)]


def test_names_tell_writer_and_level() -> None:
    assert (writer_of("abc-12-3.seg"), level_of("abc-12-3.seg"), level_of("abc-12.log")) == ("abc", 3, 0)


def test_only_what_is_new_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf, reader = build(tmp_path)
    shelf.append("rows/w-1.log", encode_block(make_events(1, 2), 0))
    assert reader.refresh(lambda _: True) == 2 and keys(reader) == ["k1", "k2"]
    assert reader.refresh(lambda _: True) == 0
    shelf.append("rows/w-1.log", encode_block(make_events(3), 2) + encode_end(3, {}))
    assert reader.refresh(lambda _: True) == 3
    shelf.rename("rows/w-1.log", "rows/w-1-0.seg")
    shelf.write("rows/v-1-0.seg", encode_segment(make_events(9), {}))
    assert reader.refresh(lambda _: True) == 9 and keys(reader) == ["k1", "k2", "k3", "k9"]
    assert reader.damage == {}


def test_a_block_that_is_not_through_yet_is_read_later(tmp_path: Path) -> None:
    _, reader = build(tmp_path)
    block = encode_block(make_events(1, 2), 0)
    path = tmp_path / "rows" / "w-1.log"
    path.parent.mkdir()
    for some in (block[:10], block[:-1], block[:-1] + b"\0"):
        path.write_bytes(some)
        assert reader.refresh(lambda _: True) == 0 and keys(reader) == [] and reader.damage == {}
    path.write_bytes(block)
    assert reader.refresh(lambda _: True) == 2 and keys(reader) == ["k1", "k2"]


def test_the_half_block_of_a_killed_writer_is_no_damage_and_a_wrong_one_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shelf, reader = build(tmp_path)
    shelf.append("rows/w-1.log", encode_block(make_events(1), 0) + encode_block(make_events(2, 3), 1)[:-1])
    shelf.append("rows/v-1.log", encode_block(make_events(4), 0) + encode_block(make_events(5, 6), 1)[:-1] + b"\0")
    reader.refresh(lambda _: False)
    assert keys(reader) == ["k1", "k4"] and reader.damage == {"v-1.log": 2}
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert f"{tmp_path}/rows/v-1.log is damaged: by its checksums 2 rows cannot be read; 1 rows" in caplog.text
    reader.refresh(lambda _: False)
    assert len(caplog.records) == 1, "it is said once"


@pytest.mark.parametrize("whole", [True, False])
def test_a_whole_segment_that_was_cut_off_is_damaged(
    whole: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shelf, reader = build(tmp_path)
    end = len(encode_end(3, {}))
    data = encode_block(make_events(1, 2), 0) + encode_block(make_events(3), 2) + encode_end(3, {})
    shelf.write("rows/w-1-0.seg", data[: -end if whole else -end - 5])
    reader.refresh(lambda _: True)
    assert reader.damage == {"w-1-0.seg": None} and "an unknown number of rows" in caplog.text
    assert keys(reader) == (["k1", "k2", "k3"] if whole else ["k1", "k2"])


def test_what_was_replaced_is_not_read_unless_the_larger_one_is_damaged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shelf, _ = build(tmp_path)
    small = encode_segment(make_events(1), {})
    shelf.write("rows/w-1-0.seg", small)
    large = encode_segment(make_events(1), {"replaces": {"w-1-0.seg": len(small)}})
    shelf.write("rows/w-2-1.seg", large)
    reader = SegmentReader(shelf, SegmentIndex())
    assert reader.refresh(lambda _: True) == 1 and set(reader.replaced) == {"w-1-0.seg"}
    damaged = bytearray(large)
    damaged[50] ^= 1
    shelf.write("rows/w-2-1.seg", bytes(damaged))
    reader = SegmentReader(shelf, SegmentIndex())
    assert reader.refresh(lambda _: True) == 1 and keys(reader) == ["k1"]
    assert "1 rows cannot be read; they stand in the segments that it was made of" in caplog.text
    assert reader.damage == {"w-2-1.seg": 0}


def test_a_rescued_segment_is_replaced_by_a_sound_one(tmp_path: Path) -> None:
    shelf, reader = build(tmp_path)
    data = bytearray(encode_block(make_events(1), 0) + encode_block(make_events(2), 1) + encode_end(2, {}))
    data[50] ^= 1
    shelf.write("rows/w-1-0.seg", bytes(data))
    reader.refresh(lambda _: True)
    assert reader.damage == {"w-1-0.seg": 1}
    reader.rescue("w-1-0.seg", "v-1-1.seg")
    assert reader.damage == {} and reader.replaced["w-1-0.seg"].is_damaged
    later = SegmentReader(shelf, SegmentIndex())
    later.refresh(lambda _: True)
    assert keys(later) == ["k2"] and later.damage == {} and later.replaced["w-1-0.seg"].is_damaged


def test_a_segment_that_goes_while_it_is_read_is_looked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_WAIT_S", 0.0)
    shelf, reader = build(tmp_path)
    listings = [{"w-1-0.seg": 5}, {"w-2-1.seg": 5}]
    shelf.write("rows/w-2-1.seg", encode_segment(make_events(1), {}))
    monkeypatch.setattr(shelf, "list_files", lambda _: listings.pop(0) if listings else {"gone-1-0.seg": 5})
    assert reader.refresh(lambda _: True) == 1
    with pytest.raises(OSError, match=r"gone-1-0\.seg is listed, but is not there"):
        reader.refresh(lambda _: True)
