from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from prefboost.preferences import draw
from prefboost.preferences.draw import draw_rank, draw_share

texts = st.lists(st.text(st.characters(codec="utf-8"), max_size=20), min_size=1, max_size=20)


def ranks(found: list[str], seed: int = 42) -> list[int]:
    return pl.DataFrame({"id": found}).select(draw_rank(seed, "id")).to_series().to_list()


@given(texts, st.integers(1, 5))
def test_a_text_gets_its_number_whatever_stands_beside_it(found: list[str], size: int) -> None:
    pieces = [number for start in range(0, len(found), size) for number in ranks(found[start : start + size])]
    assert pieces == ranks(found) == [ranks([text])[0] for text in found]


def test_the_numbers_are_these_on_every_machine_and_release() -> None:
    assert ranks(["", "a", "ab", "ba", "ä"]) == PINNED


PINNED = [6332618229526065668, 13765431836671700621, 9191653306418448750, 2980580916627959918, 3265069219661851283]


def test_long_columns_are_hashed_in_pieces_alike(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    found = [f"prompt {number}" * (number % 5) for number in range(300)]
    at_once = ranks(found)
    monkeypatch.setattr(draw, "_BYTES_AT_ONCE", 64)
    assert ranks(found) == at_once


def test_shares_are_uniform_and_independent_of_each_other_between_seeds() -> None:
    frame = pl.DataFrame({"id": [f"q{number}" for number in range(20_000)]})
    shares = frame.select(a=draw_share(1, "id"), b=draw_share(2, "id"))
    tenths = shares.select((pl.col("a") * 10).floor())["a"].value_counts()["count"]
    assert tenths.min() > 1850 and tenths.max() < 2150  # type: ignore[operator]
    assert abs(shares.select(pl.corr("a", "b")).item()) < 0.03
    assert frame.select(draw_rank(1, "id").is_unique().all()).item()


def test_two_columns_are_not_their_joined_text() -> None:
    frame = pl.DataFrame({"a": ["x", "xy"], "b": ["yz", "z"]})
    assert frame.select(draw_rank(0, "a", "b").n_unique()).item() == 2
