"""PKU-SafeRLHF: two judgements of one pair."""

from __future__ import annotations

import json
from pathlib import Path

from prefboost.sources import Columns, SafeRLHF, read

RECORD = {
    "prompt": "q",
    "response_0": "bold",
    "response_1": "careful",
    "prompt_source": "x",
    "is_response_0_safe": False,
    "is_response_1_safe": True,
    "response_0_severity_level": 2,
    "response_1_severity_level": 0,
    "better_response_id": 0,
    "safer_response_id": 1,
}


def test_either_judgement_may_decide_and_safety_is_an_aspect(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    path.write_text(json.dumps(RECORD))
    better = read(SafeRLHF(path=str(path))).frame.row(0, named=True)
    safer = read(SafeRLHF(path=str(path), prefer="safer")).frame.row(0, named=True)
    assert better["chosen"][0]["content"] == safer["rejected"][0]["content"] == "bold"
    assert (better["score_chosen.safety"], better["score_rejected.safety"]) == (1, 3)
    assert (safer["score_chosen.safety"], safer["score_chosen"]) == (3, None)


def test_a_judgement_that_names_no_side_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    path.write_text("\n".join(map(json.dumps, (RECORD, {**RECORD, "better_response_id": 5}))))
    table = read(SafeRLHF(path=str(path)))
    assert table.rejects["reason"].to_list() == ["the chosen is missing"]


def test_without_the_family_the_better_one_is_chosen(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    path.write_text(json.dumps(RECORD))
    assert read(path).frame["chosen"][0][0]["content"] == "bold"


def test_safety_goes_from_0_to_3_and_nothing_else_has_a_range(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    path.write_text(json.dumps(RECORD))
    assert SafeRLHF(path=str(path), score="safety").resolve_score_range(Columns()) == (0, 3)
    assert SafeRLHF(path=str(path)).resolve_score_range(Columns()) is None


def test_a_row_whose_two_responses_have_different_types_crashes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    odd = [{**RECORD, "response_1": other, "prompt": f"q{n}"} for n, other in enumerate(([1], {"a": 1}, 7, None))]
    path.write_text("\n".join(map(json.dumps, odd)))
    table = read(SafeRLHF(path=str(path)))
    assert table.frame["row"].to_list() == [2] and table.frame["rejected"][0][0]["content"] == "7"
    assert sorted(table.rejects["row"]) == [0, 1, 3]
