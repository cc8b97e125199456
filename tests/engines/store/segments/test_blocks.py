"""Segments as bytes: what was written is read, and nothing that is damaged goes unnoticed."""

from __future__ import annotations

from itertools import chain

from hypothesis import given
from hypothesis import strategies as st

from prefboost.engines.store.segments.blocks import (
    Event,
    encode_block,
    encode_end,
    encode_segment,
    pick_first,
    read_blocks,
)

TEXTS = st.text(max_size=8)
EVENTS = st.builds(
    Event, TEXTS, st.integers(0, 2**62), TEXTS, TEXTS, TEXTS, st.none() | TEXTS, st.none() | TEXTS, st.integers(0, 9)
)
BLOCKS = st.lists(st.lists(EVENTS, min_size=1, max_size=4), min_size=1, max_size=5)


def build(blocks: list[list[Event]], *, closed: bool = True) -> tuple[bytes, list[int]]:
    """A segment, and where each of its blocks ends."""
    data, rows, ends = b"", 0, []
    for block in blocks:
        data += encode_block(block, rows)
        rows += len(block)
        ends.append(len(data))
    return data + (encode_end(rows, {"replaces": {"a": 1}}) if closed else b""), ends


@given(BLOCKS)
def test_what_was_written_is_read_from_the_beginning_and_from_any_block_on(blocks: list[list[Event]]) -> None:
    data, ends = build(blocks)
    reading = read_blocks(data)
    assert reading.events == list(chain(*blocks))
    assert (reading.facts, reading.end, reading.broken, reading.lost) == ({"replaces": {"a": 1}}, len(data), False, 0)
    rows = len(blocks[0])
    rest = read_blocks(data[ends[0] :], start=ends[0], rows=rows)
    assert rest.events == reading.events[rows:] and rest.end == len(data) and not rest.broken


@given(BLOCKS, st.data())
def test_a_byte_that_changes_is_noticed_and_costs_no_other_block(
    blocks: list[list[Event]], draw: st.DataObject
) -> None:
    data, ends = build(blocks)
    at = draw.draw(st.integers(0, len(data) - 1))
    damaged = bytearray(data)
    damaged[at] ^= draw.draw(st.integers(1, 255))
    reading = read_blocks(bytes(damaged))
    assert reading.broken or reading.suspect is not None or reading.facts is None
    hit = next((number for number, end in enumerate(ends) if at < end), len(blocks))
    assert reading.events == list(chain(*(block for number, block in enumerate(blocks) if number != hit)))
    if hit < len(blocks):
        assert reading.lost == len(blocks[hit])


@given(BLOCKS, st.data())
def test_a_segment_that_is_cut_off_gives_its_whole_blocks_and_says_that_it_is_not_whole(
    blocks: list[list[Event]], draw: st.DataObject
) -> None:
    data, ends = build(blocks)
    cut = draw.draw(st.integers(0, len(data) - 1))
    reading = read_blocks(data[:cut])
    assert reading.events == list(chain(*(block for block, end in zip(blocks, ends, strict=True) if end <= cut)))
    assert reading.facts is None and not reading.broken and reading.suspect is None


def test_rows_of_damaged_blocks_are_counted_also_at_the_end() -> None:
    event = Event("k", 1, "w", "generate", "{}", "{}")
    data, ends = build([[event] * 3, [event] * 5, [event] * 2], closed=False)
    middle, last = bytearray(data), bytearray(data)
    middle[ends[0] + 60] ^= 1
    last[-1] ^= 1
    assert (read_blocks(bytes(middle)).lost, read_blocks(bytes(middle)).suspect) == (5, None)
    assert (read_blocks(bytes(last)).lost, read_blocks(bytes(last)).suspect) == (0, 2)


def test_large_segments_have_many_blocks_and_the_first_answer_of_a_row_is_picked() -> None:
    events = [Event(str(number), number, "w", "generate", "{}", '{"n": 1}') for number in range(2500)]
    assert read_blocks(encode_segment(events, {})).events == events
    failure = Event("7", 9999, "w", "generate", "{}", None, "bad", 1)
    later = events[7]._replace(stamp=8000, by="v")
    assert pick_first([later, failure, *events, failure]) == [*events, failure]
