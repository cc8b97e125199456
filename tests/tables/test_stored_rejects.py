"""Rejects on disk are those of one frame, in the order in which they came, by reason, or by record."""

from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from prefboost.tables import REJECTS, RejectFile, StoredRejects, count_reasons, order_by_reason

# Far enough apart to lie in several blocks; a reject may have no record.
ROWS = st.one_of(st.none(), st.integers(0, 3).map(lambda at: at * 15_000))
FRAMES = st.lists(st.lists(st.tuples(ROWS, st.sampled_from("abc")), max_size=5), max_size=5)


def build_frame(rejects: list[tuple[int | None, str]], first: int) -> pl.DataFrame:
    columns = {"row": [row for row, _ in rejects], "reason": [reason for _, reason in rejects]}
    names = {"id": [f"c{first + at}" for at in range(len(rejects))], "stage": ["s"] * len(rejects)}
    return pl.DataFrame({name: {**columns, **names}.get(name, [None] * len(rejects)) for name in REJECTS}, REJECTS)


@given(FRAMES, st.booleans())
def test_rejects_on_disk_are_those_of_one_frame(lists: list[list[tuple[int | None, str]]], by_reason: bool) -> None:
    frames = [build_frame(rejects, 10 * at) for at, rejects in enumerate(lists)]
    reasons = ["b", "a"] if by_reason else None
    file = RejectFile(reasons)
    for frame in frames:
        file.add(frame)
    stored = file.finish()
    whole = order_by_reason(pl.concat([pl.DataFrame(schema=REJECTS), *frames]), reasons or [])
    assert stored.read().equals(whole) and stored.height == whole.height and stored.is_empty() == whole.is_empty()
    assert stored.count_reasons() == count_reasons(whole)
    by_row = whole.sort("row", maintain_order=True)
    assert pl.concat([whole.clear(), *stored.read_sorted()]).equals(by_row)
    assert stored.sort_by_row().read().equals(by_row)


def test_rejects_are_appended_to_others() -> None:
    parts = [build_frame([(1, "a"), (0, "b")], 0), build_frame([(0, "a")], 2)]
    joined = StoredRejects.of(parts[0]) + StoredRejects.of(parts[1])
    assert joined.read().equals(pl.concat(parts)) and StoredRejects().read().equals(parts[0].clear())
