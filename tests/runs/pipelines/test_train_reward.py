"""Tables become reward models: scored completions are paired where the loss compares, validation rows set aside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.scoring.conftest import completions_table, pairs_table
from tests.training.conftest import build_folder

import prefboost as pb
from prefboost.preferences.gather import REPEATED
from prefboost.runs.pipelines.train_reward import prepare_reward_rows, train_reward_on
from prefboost.tables import PREFERENCE_PAIRS, SCORED_COMPLETIONS, Step, Table, conform

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_folder(tmp_path_factory.mktemp("start"))


def settings(start: Path, **changes: Any) -> pb.TrainReward:
    return pb.TrainReward(**({"model": str(start), "precision": "fp32", "max_steps": 1, "batch_size": 4} | changes))


def scored() -> Table:
    table = completions_table([("q", "best"), ("q", "middle"), ("q", "worst"), ("r", "yes"), ("r", "no")])
    frame = table.frame.with_columns(score=pl.Series([9.0, 5.0, 2.0, 8.0, 1.0]))
    return table.derive(SCORED_COMPLETIONS, frame, Step("score", {}, 5, 5))


def test_scored_completions_give_the_pairs_of_the_strategy(start: Path, tmp_path: Path) -> None:
    assert train_reward_on(scored(), settings(start), tmp_path / "all").pairs == 4
    worst = train_reward_on(scored(), settings(start), tmp_path / "two", strategy=pb.BestVsWorst())
    assert worst.pairs == 2 and worst.units == 2


def test_a_regression_takes_the_completions_themselves(start: Path, tmp_path: Path) -> None:
    assert train_reward_on(scored(), settings(start, loss="regression"), tmp_path).pairs == 5


def test_validation_rows_are_evaluated_on(start: Path, tmp_path: Path) -> None:
    table = pairs_table([("q", "a", "b"), ("r", "c", "d"), ("s", "e", "f")])
    frame = table.frame.with_columns(split=pl.Series(["train", "validation", "train"]))
    report = pb.train_reward(Table(PREFERENCE_PAIRS, conform(frame, PREFERENCE_PAIRS)), settings(start), tmp_path)
    assert report.pairs == 2 and "eval_loss" in report.metrics


def test_pairs_are_told_apart_by_their_texts_and_what_is_set_aside_is_written_down(start: Path, tmp_path: Path) -> None:
    table = pairs_table([("Why?", "a", "b"), ("why", "a", "b"), ("WHY", "a", "c"), ("How?", "c", "d")])
    frame = table.frame.with_columns(prompt_id=pl.Series(["q", "r", "s", "t"]))
    report = pb.train_reward(Table(PREFERENCE_PAIRS, conform(frame, PREFERENCE_PAIRS)), settings(start), tmp_path)
    assert report.pairs == 3 and report.dropped == {REPEATED: 1}
    assert pl.read_parquet(tmp_path / "rejects.parquet")["reason"].to_list() == [REPEATED]


def test_no_question_is_on_both_sides_of_the_split(start: Path, tmp_path: Path) -> None:
    """Four ways to ask each of two questions: a quarter of the prompts by id would part them."""
    asked = [text for n in "ab" for text in (f"Why {n}?", f"why {n}", f"WHY {n}!", f"(Why) {n}")]
    table = pairs_table([(text, "a", "b") for text in asked])
    frame = table.frame.with_columns(prompt_id=pl.Series([f"q{n}" for n in range(8)]))
    made = prepare_reward_rows(Table(PREFERENCE_PAIRS, conform(frame, PREFERENCE_PAIRS)), settings(start))
    assert len(made) == 2 and made.frame["prompt_id"].to_list() == ["q0", "q4"]


def test_a_regression_says_which_scores_its_heads_give(start: Path, tmp_path: Path) -> None:
    train_reward_on(scored(), settings(start, loss="regression"), tmp_path / "seen")
    table = scored()
    read = table.derive(table.spec, table.frame, Step("read", {}, 5, 5, notes={"score range": [0, 10]}))
    train_reward_on(read, settings(start, loss="regression"), tmp_path / "declared")
    found = [json.loads((tmp_path / name / "model" / "prefboost.json").read_text())["score_range"]
             for name in ("seen", "declared")]  # fmt: skip
    assert found == [{"overall": [1.0, 9.0]}, {"overall": [0.0, 10.0]}]
