from __future__ import annotations

from pathlib import Path

import polars as pl

from prefboost.chat import goal_text
from prefboost.runs.demo.completions import COMPLETIONS_FILE, PROMPTS_SEED, SAY, Demo, drop_cut
from prefboost.runs.demo.gold import with_gold
from prefboost.runs.demo.tasks import draw_tasks
from prefboost.scoring import RulesScorer
from prefboost.tables import COMPLETIONS, Table, conform

SHIPPED = Path(__file__).parents[3] / "src" / "prefboost" / "runs" / "demo" / COMPLETIONS_FILE


def test_the_shipped_completions_answer_the_prompts_that_are_drawn_today() -> None:
    frame = pl.read_parquet(SHIPPED).unique("prompt_id", maintain_order=True)
    drawn = draw_tasks(Demo().prompts, seed=PROMPTS_SEED)
    assert frame.select("prompt_id", "prompt", "rules", "task").equals(
        drawn.select("prompt_id", "prompt", "rules", "task")
    )
    assert SHIPPED.stat().st_size < 300_000, "it ships in the wheel"


def test_the_shipped_completions_have_something_to_learn_from() -> None:
    frame = pl.read_parquet(SHIPPED)
    scored = RulesScorer().score(Table(COMPLETIONS, conform(frame, COMPLETIONS))).frame
    assert scored.height == Demo().prompts * Demo().samples
    spread = scored.group_by("prompt_id").agg(pl.col("score").std())["score"].mean()
    assert isinstance(spread, float) and spread > 1


def test_proxy_and_gold_agree_by_half_at_the_start() -> None:
    frame = with_gold(pl.read_parquet(SHIPPED))
    scored = RulesScorer().score(Table(COMPLETIONS, conform(frame, COMPLETIONS))).frame
    both = scored.select("completion_id", "score").join(frame.select("completion_id", "gold"), on="completion_id")
    agreement = both.select(pl.corr("score", "gold")).item()
    assert 0.3 < agreement < 0.8, "a judge worth training on, and one that can be gamed"
    assert 0.01 < (both["gold"] == 10).mean() < 0.5


def test_the_demo_says_goals_in_words() -> None:
    assert [goal_text(SAY, goal) for goal in (1.0, 5.5, 10.0)] == [
        "Write an awful (1) answer.",
        "Write a good (5.5) answer.",
        "Write an excellent (10) answer.",
    ]


def test_no_cut_completion_is_trained() -> None:
    rows = [("stop", "a"), ("length", "b"), ("stop", "c")]
    frame = pl.DataFrame(rows, schema=["finish_reason", "id"], orient="row")
    assert drop_cut(frame)["id"].to_list() == ["a", "c"]
