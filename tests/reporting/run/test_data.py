"""The data card counts every row that was rejected, dropped or shortened."""

from __future__ import annotations

from prefboost.reporting.run.data import build_data_section
from prefboost.reporting.run.record import RunRecord

NOTES = {
    "goal_pairs": 20,
    "steps": [{"verb": "read", "rows_in": 1_040, "rows_out": 1_000, "rejected": {"no score": 40}}],
    "scales": {"": {"kind": "declared", "because": "the scores reach from 1 to 10"}},
}


def test_steps_scales_and_reasons_are_listed() -> None:
    stages = {"pairs": {"notes": NOTES}, "train": {"notes": {"steps": 15, "dropped": {"too long": 3}, "shortened": {}}}}
    section = build_data_section([RunRecord("mine", {"settings": {"data": {"path": "rows.jsonl"}}, "stages": stages})])
    assert section is not None
    assert section.notes == (
        "mine reads rows.jsonl.",
        "mine, pairs: scale of the score: declared (the scores reach from 1 to 10).",
    )
    steps, rejected = section.tables
    assert steps.rows == (("mine, pairs", "read", "1,040", "1,000", "40"),)
    assert rejected.rows == (("mine, pairs", "read", "no score", "40"), ("mine, train", "dropped", "too long", "3"))


def test_a_run_without_notes_has_no_data_card() -> None:
    assert build_data_section([RunRecord("mine", {})]) is None
