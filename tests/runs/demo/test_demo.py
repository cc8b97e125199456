from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from prefboost.chat import goal_text
from prefboost.runs.demo.demo import COMPLETIONS_FILE, SAY, Demo, training_completions, uncut
from prefboost.scoring import RulesScorer
from prefboost.tables import COMPLETIONS, Table, conform

SHIPPED = Path(__file__).parents[3] / "src" / "prefboost" / "runs" / "demo" / COMPLETIONS_FILE


def test_the_shipped_completions_have_something_to_learn_from() -> None:
    frame = pl.read_parquet(SHIPPED)
    scored = RulesScorer().score(Table(COMPLETIONS, conform(frame, COMPLETIONS))).frame
    assert scored.height == Demo().prompts * Demo().samples
    spread = scored.group_by("prompt_id").agg(pl.col("score").std())["score"].mean()
    assert isinstance(spread, float) and spread > 1


def test_the_demo_says_goals_in_words() -> None:
    assert [goal_text(SAY, goal) for goal in (1.0, 5.5, 10.0)] == [
        "Write an awful (1) answer.",
        "Write a good (5.5) answer.",
        "Write an excellent (10) answer.",
    ]


@pytest.mark.torch
def test_the_whole_demo_runs_on_a_tiny_model_and_says_what_it_found(tmp_path: Path) -> None:
    from tests.training.conftest import build_folder

    from prefboost.runs.demo import run_demo

    model = build_folder(tmp_path / "tiny")
    small = Demo(
        model=str(model),
        prompts=8,
        held_out=3,
        samples_per_goal=1,
        goals=(1.0, 10.0),
        max_tokens=24,
    )
    report = run_demo(tmp_path / "out", small)
    results = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert results["follows"] is report.follows
    assert set(results["policies"]["augmented"]["by_goal"]) == {"1", "10"}
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert all(sentence.split(":")[0][:40] in page for sentence in report.verdict)
    assert page.count("<svg") == 2 and "<script" not in page
    again = run_demo(tmp_path / "out", small)
    assert again.verdict == report.verdict
    fresh = small.model_copy(update={"fresh": True, "samples": 2})
    assert len(training_completions(fresh, tmp_path, None)) == 16
    assert (tmp_path / COMPLETIONS_FILE).exists()


def test_no_cut_completion_is_trained() -> None:
    rows = [("stop", "a"), ("length", "b"), ("stop", "c")]
    frame = pl.DataFrame(rows, schema=["finish_reason", "id"], orient="row")
    assert uncut(frame)["id"].to_list() == ["a", "c"]
