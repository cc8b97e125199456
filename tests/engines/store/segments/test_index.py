"""The index: the same rows whatever the order in which events come, and however often."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from prefboost.engines.engine import Failure
from prefboost.engines.store.segments.blocks import Event
from prefboost.engines.store.segments.index import CONTENT, SegmentIndex, build_event


def make(key: str, stamp: int, by: str, failed: bool) -> Event:
    if failed:
        return Event(key, stamp, by, "generate", "{}", None, "bad", 1)
    return Event(key, stamp, by, "generate", "{}", f'{{"by": "{by}{stamp}"}}')


EVENTS = st.lists(
    st.builds(make, st.sampled_from("abc"), st.integers(1, 5), st.sampled_from("vw"), st.booleans()),
    max_size=12,
    unique_by=lambda event: (event.key, event.stamp, event.by),
)


def read(*batches: list[Event]) -> list[tuple[str, Any, float]]:
    index = SegmentIndex()
    for batch in batches:
        index.add(batch)
    rows = [(row.key, row.stored, row.finished_at) for row in index.rows(None)]
    assert index.find("abc").keys() == {key for key, _, _ in rows}
    index.close()
    return rows


@given(EVENTS, st.randoms())
def test_order_and_repetition_of_events_change_nothing(events: list[Event], draw: random.Random) -> None:
    mixed = [*events, *draw.choices(events, k=5)] if events else []
    draw.shuffle(mixed)
    assert read(events) == read(mixed[:3], mixed[3:])


@given(EVENTS)
def test_the_first_answer_counts_and_attempts_of_failures_add_up(events: list[Event]) -> None:
    for key, stored, finished_at in read(events):
        mine = [event for event in events if event.key == key]
        answers = sorted((event.stamp, event.by) for event in mine if event.answer is not None)
        if answers:
            assert stored == {"by": f"{answers[0][1]}{answers[0][0]}"} and finished_at == answers[0][0] / 1e9
        else:
            assert stored == Failure("bad", len(mine)) and finished_at == max(event.stamp for event in mine) / 1e9


def test_events_hold_what_was_stored_of_one_kind_and_of_many_keys() -> None:
    index, unsafe = SegmentIndex(), Failure("un\ud800safe", 2, permanent=True, content=True)
    events = [build_event(str(n), "generate", '{"n": 1}', {"text": "\ud800 é"}, (n, "w")) for n in range(1200)]
    events.append(build_event("x", "sighting", "{}", unsafe, (5000, "w")))
    assert index.add(events) == 5000 and index.add([]) == 0
    stored = index.find([event.key for event in events])
    assert len(stored) == 1201 and stored["7"] == ({"text": "\ud800 é"}, "w")
    assert stored["x"] == (Failure("un?safe", 2, permanent=True, content=True), "w")
    assert events[-1].permanent == CONTENT
    assert [row.key for row in index.rows("sighting")] == ["x"]
