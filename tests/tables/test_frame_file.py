"""Frames on disk are those that were added."""

from __future__ import annotations

import polars as pl
from polars.testing import assert_frame_equal

from prefboost.tables import FrameFile, RowPieces


def test_frames_are_read_in_the_order_in_which_they_were_added() -> None:
    frames = [pl.DataFrame({"row": rows, "text": [f"t{row}" for row in rows]}) for rows in ([5, 4], [9], [1, 2, 3])]
    file = FrameFile()
    assert [file.add(frame) for frame in frames] == [0, 1, 2]
    assert_frame_equal(RowPieces.of_file(file).read_piece(2, ["text"]), frames[2].select("text"))
    assert_frame_equal(pl.concat(list(RowPieces.of_file(file).read_frames())), pl.concat(frames))
