"""A file that `judge` has written is read as verdicts, and as the pairs that it labels."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.preferences.test_verdict_pairs import judged

from prefboost.errors import DataError, UnreadableFile
from prefboost.sources import read
from prefboost.sources.readers.verdict_files import holds_verdicts, read_verdicts
from prefboost.sources.write import write
from prefboost.tables import PREFERENCE_PAIRS, VERDICTS

WINS = [(0.9, 0.3), (0.2, 0.6), (0.9, 0.9)]


@pytest.mark.parametrize("name", ["v.parquet", "v.jsonl"])
def test_what_was_written_is_read_back_and_becomes_pairs(name: str, tmp_path: Path) -> None:
    written = write(judged(WINS), tmp_path / name)
    again = read_verdicts(tmp_path / name)
    assert again.spec is VERDICTS and again.frame.select(written.frame.columns).equals(written.frame)
    pairs = read(tmp_path / name)
    assert pairs.spec is PREFERENCE_PAIRS and len(pairs) == 2 and len(pairs.rejects) == 1
    assert pairs.frame["chosen_wins"].to_list() == pytest.approx([0.8, 0.7])


def test_pairs_of_a_judge_are_written_and_read_back_with_their_probabilities(tmp_path: Path) -> None:
    write(judged(WINS), tmp_path / "v.parquet")
    pairs = write(read(tmp_path / "v.parquet"), tmp_path / "pairs.parquet")
    again = read(tmp_path / "pairs.parquet")
    assert len(again) == 2 and again.frame["chosen_wins"].to_list() == pairs.frame["chosen_wins"].to_list()


def test_other_files_hold_no_verdicts(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"prompt": "q", "chosen": "a", "rejected": "b"}\n')
    (tmp_path / "b.parquet").write_bytes(b"nothing")
    assert not any(holds_verdicts(tmp_path / name) for name in ("a.jsonl", "b.parquet", "none.parquet"))
    with pytest.raises(DataError, match="not a file of verdicts"):
        read_verdicts(tmp_path / "a.jsonl")


def test_verdicts_whose_pages_are_damaged_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.parquet"
    write(judged(WINS), path)
    whole = path.read_bytes()
    path.write_bytes(whole[:4] + bytes(200) + whole[204:])
    assert holds_verdicts(path)
    with pytest.raises(UnreadableFile, match="damaged"):
        read_verdicts(path)
