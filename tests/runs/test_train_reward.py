"""Tables become reward models: scored completions are paired where the loss compares, validation rows set aside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.scoring.conftest import completions_table, pairs_table
from tests.training.conftest import build_folder

import prefboost as pb
from prefboost.runs.train_reward import train_reward_on
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
    return table.then(SCORED_COMPLETIONS, frame, Step("score", {}, 5, 5))


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
