"""HelpSteer: aspects in versions 1 and 2, preferences in version 3."""

from __future__ import annotations

import json
from pathlib import Path

from prefboost.preferences import DeclaredRange, apply_scale, fit_scale
from prefboost.preferences.scales.fit import find_declared_range
from prefboost.sources import Columns, File, HelpSteer, read

MARKS = {"helpfulness": 3, "correctness": 4, "coherence": 4, "complexity": 2, "verbosity": 1}


def test_aspects_are_kept_and_helpfulness_is_the_score(tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    path.write_text("\n".join(json.dumps({"prompt": "p", "response": r, **MARKS}) for r in "ab"))
    frame = read(HelpSteer(path=str(path))).frame
    assert frame["score"].to_list() == [3, 3]
    assert frame["score.complexity"].to_list() == [2, 2]
    assert read(HelpSteer(path=str(path), score="mean")).frame["score"].to_list() == [2.8, 2.8]


def test_preferences_make_binary_pairs_and_invent_no_score(tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    records = [
        {"context": [{"role": "user", "content": "q"}], "response1": "a", "response2": "b", "overall_preference": p}
        for p in (-3, 0, 2)
    ]
    path.write_text("\n".join(map(json.dumps, records)))
    table = read(HelpSteer(version=3, path=str(path)))
    assert [row[0]["content"] for row in table.frame["chosen"]] == ["a", "b"]
    assert table.frame["score_chosen"].null_count() == 2
    assert table.frame["pair_weight"].to_list() == [3, 2]
    assert table.rejects["reason"].to_list() == ["the preference of the pair names neither completion (a tie)"]


def test_the_second_version_has_a_preference_file_too(tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    path.write_text(json.dumps({"prompt": "p", "response_1": "a", "response_2": "b", "preference_strength": 1}))
    assert read(HelpSteer(path=str(path))).frame["chosen"][0][0]["content"] == "b"


def test_the_version_chooses_the_hub_id() -> None:
    assert [HelpSteer(version=version).path for version in (1, 2, 3)] == [
        "nvidia/HelpSteer",
        "nvidia/HelpSteer2",
        "nvidia/HelpSteer3",
    ]


def test_a_score_of_0_is_a_score_as_the_makers_declare_it(tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    marks = [{**MARKS, "helpfulness": mark} for mark in (0, 4, 2)]
    path.write_text("\n".join(json.dumps({"prompt": "p", "response": f"{n}", **m}) for n, m in enumerate(marks)))
    named = File(path=str(path), columns=Columns(score="helpfulness"))
    for source in (HelpSteer(path=str(path)), HelpSteer(path=str(path), score="mean"), named):
        table = read(source)
        assert find_declared_range(table) == source.resolve_score_range(Columns()) == (0, 4)
        kept = apply_scale(table, fit_scale(DeclaredRange(), declared=find_declared_range(table)))
        assert len(kept) == 3 and kept.scales[""].top == 4
    assert find_declared_range(read(HelpSteer(path=str(path), score_range=(0.0, 9.0)))) == (0, 9)
