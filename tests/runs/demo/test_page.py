"""The demo's report shows the numbers that were measured, of all goals and policies."""

from __future__ import annotations

import json
import re

import polars as pl
import pytest

from prefboost.runs.demo.arms import list_arms
from prefboost.runs.demo.completions import Demo
from prefboost.runs.demo.measure import measure_following, measure_slope_gap, measure_top, measure_unlearning
from prefboost.runs.demo.page import (
    Findings,
    draw_goal_response,
    list_goals_table,
    list_tops_table,
    record_findings,
    render_demo,
)
from prefboost.tables import MESSAGES

GOALS = (1.0, 10.0)
ARMS = list_arms(Demo())


def answers(policy: str, on_topic: bool) -> pl.DataFrame:
    """Two prompts, each asked for both goals; at goal 10 the first completion was cut."""
    rows = [
        {
            "prompt_id": f"q{prompt}",
            "prompt": [{"role": "user", "content": f"Question {prompt}?", "extra": None}],
            "question": f"Question {prompt} <b>?",
            "goal": goal,
            "score": goal + prompt / 4,
            "gold": 3.0 + prompt,
            "gold.topic": on_topic,
            "completion": [{"role": "assistant", "content": f"{policy} {prompt} {goal:g}", "extra": None}],
            "completion_tokens": int(goal) + prompt,
            "finish_reason": "length" if goal == 10 and prompt == 0 else "stop",
        }
        for prompt in range(2)
        for goal in GOALS
    ]
    return pl.DataFrame(rows, schema_overrides={"prompt": MESSAGES, "completion": MESSAGES})


def findings_of(frames: dict[str, pl.DataFrame], unlearned: bool = True) -> Findings:
    tops = [
        measure_top(arm, frames[arm.key].filter(pl.col("goal") == 10.0), [-10.0, -12.0], [-13.0, -16.0]) for arm in ARMS
    ]
    changes = [measure_unlearning(arm.name, [-10.0, -12.0], [-11.0, -14.0], ["a", "b"]) for arm in ARMS if unlearned]
    followings = {name: measure_following(frames[name]) for name in ("augmented", "plain")}
    gap = measure_slope_gap(frames["augmented"], frames["plain"])
    return Findings(followings, gap, tops, changes, {"proxy": 4.0, "gold": 5.0})


FACTS = {
    "model": "tiny", "pairs": 3, "steps": 2, "held_out": 2, "samples_per_prompt": 1,
    "machine": "none", "settings": [("beta", "0.2")], "method": "By hand.", "unlearning_caption": "Change.",
    "cost": "Nothing.", "reduced": "", "follows": True, "verdict": ["It follows."],
    "start": {"proxy": 4.0, "gold": 5.0},
}  # fmt: skip


def page_of(unlearned: bool = True, reduced: str = "") -> str:
    frames = frames_of_arms()
    return render_demo(findings_of(frames, unlearned), frames, {**FACTS, "reduced": reduced})


def frames_of_arms() -> dict[str, pl.DataFrame]:
    return {arm.key: answers("ours" if arm.kind == "augmented" else "theirs", arm.kind == "plain") for arm in ARMS}


@pytest.fixture(scope="module")
def page() -> str:
    return page_of()


def table_of(page: str, title: str) -> str:
    return page.partition(f"<h2>{title}</h2>")[2].partition("<tbody>")[2].partition("</tbody>")[0]


def test_every_policy_has_its_row_at_the_top_goal(page: str) -> None:
    table = table_of(page, "Score against KL")
    assert all(arm.name in table for arm in ARMS)
    assert table.count('class="n">3.50 [') == 8, "KL and gold of four policies"
    assert table.count("50%") == 4, "one of two completions was cut"
    assert table.count("100%") == 2 and table.count('"n">0%') == 2, "share of answers on topic"


def test_every_policy_and_goal_has_its_row(page: str) -> None:
    table = table_of(page, "Goal response")
    assert table.count("reward-augmented") == table.count("plain DPO") == len(GOALS)
    assert table.count('class="n">10.12 [') == 2  # mean of 10 and 10.25
    assert table.count('class="n">3.50 [') == 4, "gold at two goals, of two policies"
    assert table.count("50%") == 2, "one of two completions was cut where 10 was asked for"


def test_samples_stand_side_by_side_and_cannot_break_the_page(page: str) -> None:
    shown = page.partition("Completions side by side")[2]
    places = [shown.index(text) for text in ("ours 0 1<", "ours 0 10<", "theirs 0 1<", "theirs 0 10<", "ours 1 1<")]
    assert places == sorted(places)
    assert "<span>score 10</span> <span>gold score 3</span>" in shown
    assert "Question 0 &lt;b&gt;?" in shown


def test_the_page_needs_nothing_outside_of_it_and_warns_of_one_seed(page: str) -> None:
    assert page.count('class="plot"') == 4
    markup = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert "http:" not in markup and "https:" not in markup
    assert "One seed proves nothing" in page


def test_nothing_to_unlearn_is_said() -> None:
    assert "There were no such completions." in page_of(unlearned=False)
    assert "There were no such completions." not in page_of()


def test_a_reduced_size_is_said_on_the_page() -> None:
    assert "of 320 training prompts &lt;i&gt;" in page_of(reduced="Reduced size: 48 of 320 training prompts <i>")


def test_the_tables_of_the_page_are_those_of_the_findings() -> None:
    frames = frames_of_arms()
    findings = findings_of(frames)
    assert len(list_tops_table(findings, frames).rows) == 4 and len(list_goals_table(findings, frames).rows) == 4


def test_the_record_holds_every_policy_by_goal_and_is_json() -> None:
    record = record_findings(findings_of(frames_of_arms()), FACTS)
    assert json.loads(json.dumps(record))["top"]["plain"]["arm"]["name"] == "plain DPO, beta 0.2"
    assert set(record["policies"]["augmented"]["by_goal"]) == {"1", "10"}
    assert "method" not in record["facts"] and record["facts"]["pairs"] == 3


def test_the_figure_changes_with_the_scores() -> None:
    pytest.importorskip("matplotlib")
    frames = frames_of_arms()
    drawn = draw_goal_response(findings_of(frames))
    assert drawn.lstrip().startswith("<svg")
    worse = {key: frame.with_columns(gold=pl.col("gold") - 1) for key, frame in frames.items()}
    assert drawn != draw_goal_response(findings_of(worse))
