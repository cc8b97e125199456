"""The demo's report shows the numbers that were measured, of all goals and both policies."""

from __future__ import annotations

import polars as pl
import pytest

from prefboost.runs.demo.measure import Following, measure_following, measure_unlearning
from prefboost.runs.demo.page import NAMES, draw_goal_response, render_demo
from prefboost.tables import MESSAGES

GOALS = (1.0, 10.0)


def answers(policy: str, kept: float | None) -> pl.DataFrame:
    """Two prompts, each asked for both goals; at goal 10 the first completion was cut."""
    rows = [
        {
            "prompt_id": f"q{prompt}",
            "question": f"Question {prompt} <b>?",
            "goal": goal,
            "score": goal + prompt / 4,
            "score.at_most_words": kept,
            "completion": [{"role": "assistant", "content": f"{policy} {prompt} {goal:g}", "extra": None}],
            "completion_tokens": int(goal) + prompt,
            "finish_reason": "length" if goal == 10 and prompt == 0 else "stop",
        }
        for prompt in range(2)
        for goal in GOALS
    ]
    return pl.DataFrame(rows, schema_overrides={"completion": MESSAGES, "score.at_most_words": pl.Float64})


def page_of(frames: dict[str, pl.DataFrame], unlearned: bool = True, reduced: str = "") -> str:
    found = {name: measure_following(frame) for name, frame in frames.items()}
    changes = [
        measure_unlearning(NAMES[name], [-10.0, -12.0], [-11.0, -14.0], ["a", "b"]) for name in frames if unlearned
    ]
    facts = {
        "model": "tiny", "pairs": 3, "steps": 2, "held_out": 2, "samples_per_prompt": 1, "version": "0",
        "machine": "none", "start": 4.0, "settings": [("beta", "0.2")], "method": "By hand.",
        "unlearning_caption": "Change.", "cost": "Nothing.", "reduced": reduced,
        "follows": True, "verdict": ["It follows."],
    }  # fmt: skip
    return render_demo(found, frames, changes, facts)


@pytest.fixture(scope="module")
def page() -> str:
    pytest.importorskip("matplotlib")
    return page_of({"augmented": answers("ours", 10.0), "plain": answers("theirs", None)})


def test_every_policy_and_goal_has_its_row(page: str) -> None:
    table = page.partition("<h2>Figures</h2>")[2].partition("</table>")[0]
    assert table.count("reward-augmented") == table.count("plain DPO") == len(GOALS)
    assert table.count('class="n">10.12<') == 2  # mean of 10 and 10.25
    assert table.count("50%") == 2, "one of two completions was cut where 10 was asked for"
    assert "at most words" in table
    assert table.count("100%") == 2 and table.count("–") == 2, "a share of kept rules, or a dash where none is known"


def test_samples_stand_side_by_side_by_goal_and_cannot_break_the_page(page: str) -> None:
    shown = page.partition("Completions side by side")[2]
    places = [shown.index(text) for text in ("ours 0 1", "theirs 0 1", "ours 0 10", "theirs 0 10", "ours 1 1")]
    assert places == sorted(places)
    assert "Question 0 &lt;b&gt;?" in shown
    assert "<script" not in page


def test_nothing_to_unlearn_is_said(page: str) -> None:
    frames = {"augmented": answers("ours", 10.0), "plain": answers("theirs", None)}
    assert "There were no such completions." in page_of(frames, unlearned=False)
    assert "There were no such completions." not in page


def test_a_reduced_size_is_said_on_the_page() -> None:
    frames = {"augmented": answers("ours", 10.0), "plain": answers("theirs", None)}
    assert "of 320 training prompts &lt;i&gt;" in page_of(
        frames, reduced="Reduced size: 48 of 320 training prompts <i>"
    )
    assert "verdict null" not in page_of(frames)


def test_the_figure_has_a_curve_of_every_policy() -> None:
    pytest.importorskip("matplotlib")
    found: dict[str, Following] = {name: measure_following(answers(name, None)) for name in NAMES}
    drawn = draw_goal_response(found, start=4.0)
    assert drawn.lstrip().startswith("<svg")
    assert drawn != draw_goal_response(found, start=None)
