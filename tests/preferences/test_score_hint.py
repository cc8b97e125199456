"""Where scores are missing, columns that may hold them are named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import prefboost as pb
from prefboost.errors import DataError, MissingScores


def file_of(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_score_under_another_name_is_named_before_scoring_is_advised(tmp_path: Path) -> None:
    rows = [{"prompt": f"q{n // 2}", "completion": f"a{n}", "stars": 1 + n % 5, "row_id": n} for n in range(6)]
    path = file_of(tmp_path / "in.jsonl", rows)
    with pytest.raises(DataError, match=r"the column stars holds the score, name it: columns.score=stars; or score"):
        pb.pair(pb.read(path), pb.BestVsWorst())
    named = pb.read(path, columns=pb.Columns(score="stars"))
    assert len(pb.pair(named, pb.BestVsWorst())) == 3


def test_the_same_of_completions_inside_a_record(tmp_path: Path) -> None:
    rows = [
        {"prompt": f"q{n}", "completions": [{"text": "a", "votes": 3}, {"text": "b", "votes": 1}]} for n in range(3)
    ]
    with pytest.raises(DataError, match=r"columns\.score=votes"):
        pb.pair(pb.read(file_of(tmp_path / "in.jsonl", rows)), pb.BestVsWorst())


def test_pairs_need_two_columns_of_numbers(tmp_path: Path) -> None:
    rows = [{"prompt": f"q{n}", "chosen": "a", "rejected": "b", "good_pts": 4, "bad_pts": 2} for n in range(4)]
    pairs = pb.read(file_of(tmp_path / "in.jsonl", rows))
    with pytest.raises(
        MissingScores, match=r"columns\.score_chosen=good_pts columns\.score_rejected=bad_pts; or score"
    ):
        pb.relabel(pairs, pb.RewardAugmented())
    alone = pb.read(file_of(tmp_path / "one.jsonl", [{**row, "good_pts": None} for row in rows]))
    with pytest.raises(MissingScores, match=r"goals\n  -> score the completions first"):
        pb.relabel(alone, pb.RewardAugmented())
