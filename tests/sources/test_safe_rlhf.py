"""PKU-SafeRLHF: two judgements of one pair."""

from __future__ import annotations

import json
from pathlib import Path

from prefboost.sources import SafeRLHF, read

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
