"""Trackers' files live in the run folder and outlive its checkpoints."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import pyarrow as pa
import pytest
from tests.training.conftest import GOALS
from tests.training.policy.test_train import settings_of

from prefboost.errors import SettingsError
from prefboost.training import train
from prefboost.training.reward.settings import TrainReward
from prefboost.training.reward.train import train_reward
from prefboost.training.trackers import TRACKING, check_trackers, clear_checkpoints, logs_in


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> None:
    """A TensorBoard that writes every number as a line of text."""

    class SummaryWriter:
        def __init__(self, log_dir: str) -> None:
            Path(log_dir).mkdir(parents=True, exist_ok=True)
            self.path = Path(log_dir) / "events.out"

        def add_scalar(self, name: str, value: float, step: int) -> None:
            with self.path.open("a") as file:
                file.write(f"{step} {name} {value}\n")

        def __getattr__(self, name: str) -> Any:
            return lambda *args, **kwargs: None

    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = SummaryWriter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    monkeypatch.setattr("transformers.integrations.integration_utils.is_tensorboard_available", lambda: True)
    monkeypatch.delenv("TENSORBOARD_LOGGING_DIR", raising=False)


@pytest.mark.usefixtures("board")
def test_tensorboards_files_survive_in_the_run_folder(tiny: Path, pairs: pa.Table, tmp_path: Path) -> None:
    train(pairs, settings_of(tiny, max_steps=2, report_to=("tensorboard",)), tmp_path / "policy", goals=GOALS)
    settings = TrainReward(model=str(tiny), precision="fp32", max_steps=2, report_to=("tensorboard",))
    train_reward(pairs, settings, tmp_path / "reward")
    for run in ("policy", "reward"):
        lines = (tmp_path / run / TRACKING / "tensorboard" / "events.out").read_text().splitlines()
        assert [line.split()[0] for line in lines if " train/loss " in line] == ["1", "2"]
        assert not (tmp_path / run / "checkpoints").exists()


@pytest.mark.usefixtures("board")
def test_a_place_that_the_user_named_is_kept(
    tiny: Path, pairs: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "mine"))
    train(pairs, settings_of(tiny, max_steps=1, report_to=("tensorboard",)), tmp_path / "run", goals=GOALS)
    assert (tmp_path / "mine" / "events.out").exists() and not (tmp_path / "run" / TRACKING).exists()


@pytest.fixture
def offline_trackers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Trackers that write one line per log, each to the place that its library takes from its own setting."""

    def append(path: Path, line: object) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(f"{line}\n")

    class Wandb(MagicMock):
        run: Any = None

        def init(self, **options: object) -> None:
            self.run = MagicMock()
            append(Path(os.environ["WANDB_DIR"]) / "wandb" / "init", options | {"dir": os.environ["WANDB_DIR"]})

        def finish(self) -> None:
            self.run = None

        # Like the library: a folder that is missing or read-only would send the files to a temporary one.
        def log(self, numbers: object) -> None:
            home = Path(os.environ["WANDB_DIR"])
            assert home.is_dir()
            append(home / "wandb" / "offline-run" / "run.wandb", numbers)

    class Trackio(MagicMock):
        __version__ = "1.0"
        home = tmp_path / "home"  # fixed when the library is imported

        def init(self, **options: object) -> None:
            append(self.home / "init", options)

        def log(self, numbers: object) -> None:
            append(self.home / "project.db", numbers)

    class Mlflow(MagicMock):
        __version__ = "3.0"
        uri = ""

        def is_tracking_uri_set(self) -> bool:
            return bool(self.uri)

        def set_tracking_uri(self, uri: str) -> None:
            self.uri = uri

        def log_metrics(self, metrics: object, **options: object) -> None:
            append(Path(self.uri.removeprefix("sqlite:///")), metrics)

    class EmissionsTracker:
        # Takes no variable: transformers hands it the folder of the checkpoints.
        def __init__(self, output_dir: str) -> None:
            self.output_dir = output_dir

        def start(self) -> None:
            append(Path(self.output_dir) / "emissions.csv", "begun")

        def stop(self) -> None:
            append(Path(self.output_dir) / "emissions.csv", "kg")

    # TRL and accelerate ask at their import what is installed, and shall not meet the stand-ins.
    importlib.import_module("prefboost.training.policy.trainer")
    trackio, wandb = Trackio(), Wandb()
    trackio.context_vars.current_space_id.get.return_value = None
    mlflow = Mlflow()
    mlflow.utils.validation.MAX_PARAM_VAL_LENGTH, mlflow.utils.validation.MAX_PARAMS_TAGS_PER_BATCH = 250, 100
    codecarbon = MagicMock(EmissionsTracker=EmissionsTracker)
    for name, module in {"wandb": wandb, "trackio": trackio, "mlflow": mlflow, "codecarbon": codecarbon}.items():
        monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.setattr(f"transformers.integrations.integration_utils.is_{name}_available", lambda: True)
    for name in ("wandb.sdk", "wandb.sdk.lib"):
        monkeypatch.setitem(sys.modules, name, MagicMock())
    config_util = ModuleType("wandb.sdk.lib.config_util")
    config_util.ConfigError = KeyError  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, config_util.__name__, config_util)
    for variable in ("WANDB_DIR", "WANDB_PROJECT", "WANDB_NAME", "TRACKIO_PROJECT", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(variable, raising=False)


@pytest.mark.usefixtures("offline_trackers")
def test_files_of_other_trackers_survive_in_the_run_folder(tiny: Path, pairs: pa.Table, tmp_path: Path) -> None:
    trackers = ("wandb", "trackio", "mlflow", "codecarbon")
    settings = settings_of(tiny, max_steps=3, save_every=1, report_to=trackers)
    train(pairs, settings, tmp_path / "run", goals=GOALS)
    assert not (tmp_path / "run" / "checkpoints").exists()
    tracking = tmp_path / "run" / TRACKING
    written = (tracking / "wandb/offline-run/run.wandb", tmp_path / "home/project.db", tracking / "mlflow.db")
    assert all(file.read_text().count("rewards/margins") == 3 for file in written)
    assert (tracking / "emissions.csv").read_text() == "begun\nkg\n"
    assert not {"WANDB_DIR", "WANDB_PROJECT", "MLFLOW_TRACKING_URI"} & set(os.environ)
    assert "'name': 'run'" in (tracking / "wandb/init").read_text()
    assert "'project': 'prefboost', 'name': 'run'" in (tmp_path / "home/init").read_text()


@pytest.mark.usefixtures("offline_trackers")
def test_two_trainings_of_one_process_are_two_runs_of_a_tracker(
    tiny: Path, pairs: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "whole" / "manifest.json").write_text("{}")
    for name in ("round-1", "round-2"):
        settings = settings_of(tiny, max_steps=1, report_to=("wandb",))
        train(pairs, settings, tmp_path / "whole" / name, goals=GOALS)
        begun = (tmp_path / "whole" / name / TRACKING / "wandb" / "init").read_text()
        assert f"'name': 'whole/{name}'" in begun and "'project': 'prefboost'" in begun
    # A run of the calling program stays open, and is logged into.
    sys.modules["wandb"].run = running = MagicMock()
    train(pairs, settings, tmp_path / "inside", goals=GOALS)
    assert sys.modules["wandb"].run is running


def test_only_trackers_that_are_used_are_told_where_to_write(tmp_path: Path) -> None:
    environment = {"WANDB_DIR": "mine"}
    with logs_in(tmp_path, ("wandb", "swanlab"), environment):
        swanlab = f"{tmp_path}/{TRACKING}/swanlab"
        assert environment == {"WANDB_DIR": "mine", "WANDB_PROJECT": "prefboost", "SWANLAB_LOG_DIR": swanlab}
    assert environment == {"WANDB_DIR": "mine"}
    with logs_in(tmp_path / "other", (), environment):
        assert environment == {"WANDB_DIR": "mine"}
    assert not (tmp_path / "other").exists()


def test_what_a_tracker_wrote_beside_the_checkpoints_is_kept(tmp_path: Path) -> None:
    checkpoints = tmp_path / "checkpoints"
    (checkpoints / "checkpoint-3").mkdir(parents=True)
    (checkpoints / "checkpoint-3" / "optimizer.pt").write_text("large")
    (checkpoints / "token_budget.json").write_text("{}")
    (checkpoints / "emissions.csv").write_text("kg")
    (checkpoints / "runs" / "Nov28").mkdir(parents=True)
    (checkpoints / "runs" / "Nov28" / "events.1").write_text("one")
    (tmp_path / TRACKING / "runs" / "Nov28").mkdir(parents=True)
    (tmp_path / TRACKING / "runs" / "Nov28" / "events.0").write_text("earlier")
    clear_checkpoints(tmp_path)
    assert not checkpoints.exists()
    kept = {str(path.relative_to(tmp_path / TRACKING)) for path in (tmp_path / TRACKING).rglob("*") if path.is_file()}
    assert kept == {"emissions.csv", "runs/Nov28/events.0", "runs/Nov28/events.1"}
    clear_checkpoints(tmp_path)


def test_a_run_without_trackers_leaves_no_folder_for_them(tmp_path: Path) -> None:
    (tmp_path / "checkpoints" / "checkpoint-1").mkdir(parents=True)
    clear_checkpoints(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_trackers_are_asked_for_by_name() -> None:
    check_trackers(())
    check_trackers(("none",))
    with pytest.raises(SettingsError, match="no tracker 'wandbb'; did you mean wandb"):
        check_trackers(("wandbb",))
