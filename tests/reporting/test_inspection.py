"""The sections of a data set hold the figures of its inspection."""

from __future__ import annotations

import json
from pathlib import Path

from prefboost.diagnosis import inspect
from prefboost.reporting.inspection import build_goal_spread_section, build_inspection_sections, name_bins


def write_rows(path: Path) -> Path:
    rows = [
        {"prompt": f"Question {at}?", "completion": f"{'word ' * (at + 1)}", "score": float(1 + at % 10)}
        for at in range(20)
    ]
    rows.append({"prompt": "No answer?", "completion": None, "score": 3.0})
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_every_part_of_an_inspection_has_its_section(tmp_path: Path) -> None:
    inspection = inspect(write_rows(tmp_path / "rows.jsonl"))
    sections = {section.title: section for section in build_inspection_sections(inspection)}
    assert list(sections) == ["Rows", "Scores", "Goals", "Lengths", "Lints", "Rejected rows"]
    assert sections["Rows"].notes[0].startswith("21 records, 20 prompts, 20 rows")
    scores = sections["Scores"]
    assert scores.tables[0].rows[0][:2] == ("score", "20")
    assert sum(row["y"] for row in scores.plots[0].spec["data"]["values"]) == 20
    assert sections["Rejected rows"].tables[0].rows[0][1] == "1"
    assert {row[0] for row in sections["Lengths"].tables[0].rows} == {"prompt", "completion"}


def test_the_spread_of_goals_counts_the_tenths_that_hold_rows(tmp_path: Path) -> None:
    inspection = inspect(write_rows(tmp_path / "rows.jsonl"))
    assert inspection.goals is not None
    section = build_goal_spread_section(inspection, inspection.goals)
    assert section.notes == ("10 of 10 tenths of the range hold 1 % or more of the rows.",)
    assert section.plots[0].title == "Goals that pairs would get"


def test_bins_have_names_of_their_own_however_near_their_edges_lie() -> None:
    assert name_bins([1.0, 1.9, 2.8]) == ["1–1.9", "1.9–2.8"]
    assert len(set(name_bins([1.0, 1.0000001, 1.0000002]))) == 2
    assert name_bins([1.0, 1.0, 1.0]) == ["1", "2"]
