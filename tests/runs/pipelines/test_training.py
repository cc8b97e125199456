"""Training stages, and training on a table in memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.runs.pipelines.test_offline import recipe

from prefboost.runs.pipelines.goal_pairs import load_renderer
from prefboost.runs.pipelines.offline import prepare
from prefboost.runs.pipelines.training import build_training_stage, join_folder, train_on


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.training.conftest import build_folder

    return build_folder(tmp_path_factory.mktemp("tiny"))


@pytest.mark.torch
def test_a_table_in_memory_is_trained_on_as_it_was_conditioned(tiny: Path, tmp_path: Path) -> None:
    wanted = recipe(tiny)
    table = prepare(wanted, load_renderer(wanted))
    report = train_on(table, wanted.train, tmp_path / "policy")
    assert report.pairs == len(table)
    assert (tmp_path / "policy" / "model").is_dir()


def test_a_training_in_a_folder_of_the_run_names_its_files_there() -> None:
    assert join_folder("", "a", "b") == ("a", "b") and join_folder("round-1", "a") == ("round-1/a",)
    stage = build_training_stage("round 1/train", "round-1", {}, dict, after=("round 1/pairs",), inputs={})
    assert stage.outputs == ("round-1/model", "round-1/train_report.json") and stage.together
    assert "round-1/manifest.json" in stage.scraps
