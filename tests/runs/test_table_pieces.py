"""A table in pieces says of itself what the whole table says."""

import json
from pathlib import Path

from polars.testing import assert_frame_equal

from prefboost.runs.table_pieces import PieceTable
from prefboost.sources import read


def test_a_whole_table_is_one_piece_with_its_counts(tmp_path: Path) -> None:
    lines = [{"prompt": "a", "chosen": "b", "rejected": "c"}, {"prompt": "a", "chosen": "b"}, {"prompt": "d"}]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    table = read(tmp_path / "in.jsonl")
    pieces = PieceTable.of(table)
    assert pieces.rows == 1 and sum(pieces.rejected.values()) == 2
    assert not len(pieces.head) and pieces.head.steps == table.steps and pieces.head.path == table.path
    for _ in range(2):
        again = pieces.collect()
        assert_frame_equal(again.frame, table.frame)
        assert_frame_equal(again.rejects, table.rejects.sort("row"))
