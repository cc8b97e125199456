"""Samples are spread evenly, counted, cut with a note, and keep their scores and goals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl

from prefboost.reporting.samples import (
    MOST_BYTES,
    MOST_CHARACTERS,
    SampleCell,
    TextSample,
    choose_completions,
    choose_pairs,
    collect_samples,
)
from prefboost.tables import MESSAGES


def answers(policy: str, goals: tuple[float | None, ...] = (1.0, 10.0), prompts: int = 3) -> pl.DataFrame:
    rows = [
        {
            "prompt_id": f"q{prompt}", "prompt": [{"role": "user", "content": f"Question {prompt}?", "extra": None}],
            "completion": [{"role": "assistant", "content": f"{policy} {prompt} {goal}", "extra": None}],
            "goal": goal, "score": 5.0 + prompt,
        }
        for prompt in range(prompts) for goal in goals
    ]  # fmt: skip
    return pl.DataFrame(rows, schema_overrides={"prompt": MESSAGES, "completion": MESSAGES, "goal": pl.Float64})


def test_all_goals_of_a_pair_are_shown_together(goal_table: Callable[..., Any]) -> None:
    samples = choose_pairs(goal_table(50).frame, "pairs", 20)
    assert len(samples) == 20
    assert [[cell.goal for cell in sample.cells] for sample in samples[:2]] == [["7", "7"], ["3", "3"]]
    first = samples[0].cells
    assert [(cell.label, cell.text, cell.score) for cell in first] == [
        ("chosen", "good 0", 7.0),
        ("rejected", "bad 0", 3.0),
    ]
    # From the first row to the last, not the head of the file.
    assert samples[-1].cells[0].text == "bad 45"


def test_completions_of_all_policies_and_goals_stand_side_by_side() -> None:
    samples = choose_completions({"ours": answers("ours"), "theirs": answers("theirs", (None,))}, "asked", 2)
    assert len(samples) == 2
    cells = [(cell.label, cell.goal, cell.text) for cell in samples[0].cells]
    assert cells == [("ours", "1", "ours 0 1.0"), ("ours", "10", "ours 0 10.0"), ("theirs", "", "theirs 0 None")]
    assert samples[0].prompt == "Question 0?"


def test_the_number_shown_is_stated_with_the_number_there_was() -> None:
    shown = choose_completions({"a": answers("a")}, "asked", 2)
    samples = collect_samples([(shown, 3)])
    assert samples is not None
    assert samples.note.startswith("2 of 3, evenly spaced over the rows.")
    assert samples.groups == ["asked"] and samples.goals == ["1", "10"]
    every = collect_samples([(shown, 2)])
    assert every is not None and every.note.startswith("All 2.")
    assert collect_samples([([], 0)]) is None


def test_long_texts_are_cut_with_a_note(goal_row: Callable[..., Any]) -> None:
    text = "xyz" + "y" * MOST_CHARACTERS
    row = goal_row(0, chosen=[{"role": "assistant", "content": text, "extra": None}])
    frame = pl.DataFrame([row], schema_overrides=dict.fromkeys(("prompt", "chosen", "rejected"), MESSAGES))
    shown = choose_pairs(frame, "pairs", 5)[0].cells[0].text
    assert shown.startswith("xyzy") and shown.endswith("(3 more characters)")


def test_texts_of_many_bytes_are_fewer_from_the_first_to_the_last() -> None:
    text = "語" * MOST_CHARACTERS
    rows = [TextSample("g", f"{at}", (SampleCell("a", text, None),)) for at in range(3_000)]
    samples = collect_samples([(rows, 3_000)])
    assert samples is not None
    assert sum(sample.size for sample in samples.rows) <= MOST_BYTES
    assert samples.rows[0].prompt == "0" and int(samples.rows[-1].prompt) > 2_900
    assert samples.note.startswith(f"{len(samples.rows)} of 3,000")


def test_no_limit_shows_no_row(goal_table: Callable[..., Any]) -> None:
    assert len(choose_pairs(goal_table(5).frame, "pairs", 10_000)) == 10
