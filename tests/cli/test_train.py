"""``prefboost train``."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from waiting import PATIENCE_S, wait_until

from prefboost.cli.main import main
from prefboost.devices.accelerate_configs import find_accelerate_config

EXAMPLE = Path(__file__).parents[2] / "examples" / "scored.jsonl"


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.training.conftest import build_folder

    return build_folder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def recipe(tiny: Path, tmp_path: Path) -> Path:
    shutil.copy(EXAMPLE, tmp_path / "scored.jsonl")
    path = tmp_path / "tiny.yaml"
    path.write_text(
        f"name: tiny\ndata: {tmp_path}/scored.jsonl\ntrain:\n  model: {tiny}\n  precision: fp32\n"
        "  batch_size: 8\n  max_length: 900\n  max_prompt_length: 600\n"
    )
    return path


@pytest.mark.torch
def test_a_recipe_is_trained_and_the_model_named(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(recipe), "--runs-dir", str(tmp_path / "runs"), "--quiet"]) == 0
    shown = capsys.readouterr().out
    assert "trained on 24 goal pairs in 3 steps" in shown
    assert f"model: {tmp_path}/runs/tiny/model" in shown


@pytest.mark.torch
def test_a_dry_run_counts_and_makes_nothing(recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["train", str(recipe), "--dry-run", "--runs-dir", str(tmp_path / "runs"), "pair=all_pairs", "--json"]) == 0
    )
    shown = json.loads(capsys.readouterr().out)
    assert shown["goal_pairs"] == 72
    assert [step["verb"] for step in shown["steps"]] == ["read", "select", "scale", "pair", "relabel", "condition"]
    assert shown["training"]["pairs"] == 72 and shown["training"]["seconds"]["training"] > 0
    assert not (tmp_path / "runs").exists()


@pytest.mark.torch
def test_a_dry_run_says_what_training_will_take(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(recipe), "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "24 goal pairs to train on: 12 units, 3 steps" in shown
    assert all(word in shown for word in ("tokens:", "time:   about", "memory: about", "guess:"))


@pytest.mark.torch
def test_lost_text_is_said_by_the_dry_run_and_by_training(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = ["train.max_prompt_length=200", "train.max_loss_share=1", "train.max_steps=1"]
    sentence = "text lost: 24 of 24 rows: the prompt is cut to max_prompt_length"
    assert main(["train", str(recipe), "--dry-run", *changes]) == 0
    assert sentence in capsys.readouterr().out
    assert main(["train", str(recipe), "--runs-dir", str(tmp_path / "runs"), "--quiet", *changes]) == 0
    assert sentence in capsys.readouterr().out
    assert "rows: the prompt is cut" in (tmp_path / "runs" / "tiny" / "model" / "README.md").read_text()


def test_a_model_that_cannot_be_loaded_is_one_message(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "no-model"
    folder.mkdir()
    assert main(["train", str(recipe), f"train.model={folder}", "--dry-run"]) == 2
    shown = capsys.readouterr().err
    assert "error: cannot load the model" in shown
    assert "Traceback" not in shown


@pytest.mark.torch
def test_two_trainings_of_one_recipe_do_not_meet_in_its_folder(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from prefboost.training.claim import hold_folder

    arguments = ["train", str(recipe), "--runs-dir", str(tmp_path / "runs"), "--quiet"]
    with hold_folder(tmp_path / "runs" / "tiny"):
        assert main(arguments) == 2
    assert "another process is using this run folder" in capsys.readouterr().err
    assert main(arguments) == 0


@pytest.mark.torch
def test_a_typo_is_mended_in_the_same_folder(recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", str(recipe), "--runs-dir", str(tmp_path / "runs"), "--quiet"]
    for override in ("train.optimizer=adamw_torhc", "train.report_to=[tensorbord]"):
        assert main([*arguments, override]) == 2
        assert main([*arguments[:2], "--dry-run", override]) == 2
        shown = capsys.readouterr().err
        assert shown.count("did you mean") == 2 and "unexpected" not in shown
    assert main(arguments) == 0


def test_a_missing_file_is_one_message(recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", str(recipe), f"data={tmp_path}/gone.jsonl", "--runs-dir", str(tmp_path / "runs"), "--quiet"]
    assert main(arguments) == 2
    assert "gone.jsonl" in capsys.readouterr().err


AS_ON_GPUS = """
import os
import sys
from accelerate import state

if os.environ.get("ACCELERATE_USE_DEEPSPEED") == "true":
    import deepspeed.ops

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False  # gloo will do, and nothing is compiled

original = state.PartialState.__init__


def init(self, *args, **kwargs):
    original(self, *args, **kwargs)
    if self.distributed_type == state.DistributedType.MULTI_CPU and "ACCELERATE_USE_FSDP" in os.environ:
        self.distributed_type = state.DistributedType.MULTI_GPU


state.PartialState.__init__ = init
if "WAIT_AT_STEP" in os.environ:
    import dying

    dying.at_step(int(os.environ["WAIT_AT_STEP"]), dying.wait_to_be_killed)
from prefboost.cli.main import main

raise SystemExit(main(sys.argv[1:]))
"""
"""The command as it is, but accelerate parts weights among CPUs too, which FSDP by itself only does among GPUs."""

LAUNCH = [
    *(sys.executable, "-m", "accelerate.commands.launch", "--num_machines=1"),
    *("--mixed_precision=no", "--dynamo_backend=no", "--num_cpu_threads_per_process=1", "--main_process_port=0"),
]


def launch(arguments: list[str], processes: int = 2, **variables: str) -> subprocess.Popen[str]:
    root = Path(__file__).parents[2]
    path = os.pathsep.join(str(each) for each in (root / "src", root, root / "tests" / "made"))
    settings = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "DS_ACCELERATOR": "cpu"}
    environment = {**os.environ, "PYTHONPATH": path, **settings, **variables}
    return subprocess.Popen(
        [*LAUNCH, f"--num_processes={processes}", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def trained(folder: Path) -> dict[str, object]:
    from safetensors.torch import load_file

    return load_file(folder / "tiny" / "model" / "model.safetensors")


def losses(folder: Path) -> list[float]:
    lines = (folder / "tiny" / "train_log.jsonl").read_text().splitlines()
    return [line["loss"] for line in map(json.loads, lines) if "loss" in line]


def assert_same(folder: Path, other: Path) -> None:
    import torch

    mine, theirs = trained(folder), trained(other)
    assert mine.keys() == theirs.keys()
    for name, weight in theirs.items():
        torch.testing.assert_close(mine[name], weight, rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.torch
def test_two_launched_processes_train_what_one_does(recipe: Path, tmp_path: Path) -> None:
    settings = ["train", str(recipe), "train.learning_rate=1e-3", "train.token_budget=600", "--quiet"]
    assert main([*settings, "--runs-dir", str(tmp_path / "one")]) == 0
    both = launch(["--multi_gpu", "-m", "prefboost.cli.main", *settings, "--runs-dir", str(tmp_path / "two")])
    shown = both.communicate(timeout=PATIENCE_S)[0]
    assert both.returncode == 0 and shown.count("trained on 24 goal pairs in 3 steps") == 1, shown
    assert_same(tmp_path / "two", tmp_path / "one")


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.parametrize("config", ["fsdp2", "zero3"])
def test_two_launched_processes_that_share_the_weights_are_killed_resume_in_any_number_and_train_what_one_does(
    config: str, recipe: Path, tmp_path: Path
) -> None:
    if config == "zero3":
        pytest.importorskip("deepspeed", reason="DeepSpeed is not installed")
    script = tmp_path / "as_on_gpus.py"
    script.write_text(AS_ON_GPUS)
    more = ["train.learning_rate=1e-3", "train.token_budget=600", "train.save_every=5", "train.max_steps=15"]
    # 6 units, which 1, 2 and 3 processes divide; a decay that parameters without one would notice.
    more += ["train.batch_size=12", "train.weight_decay=0.5"]
    settings = ["train", str(recipe), *more, "--quiet", "--runs-dir"]
    assert main([*settings, str(tmp_path / "one")]) == 0
    command = ["--config_file", str(find_accelerate_config(config)), str(script), *settings, str(tmp_path / "two")]
    killed = launch(command, WAIT_AT_STEP="7")
    checkpoints = tmp_path / "two" / "tiny" / "checkpoints"
    wait_until(lambda: list(checkpoints.glob("*/complete.json")), "a checkpoint is written", killed)
    launched = psutil.Process(killed.pid)
    for process in [*launched.children(recursive=True), launched]:
        process.kill()
    shown = killed.communicate()[0]
    assert killed.returncode == -signal.SIGKILL, shown
    shutil.copytree(tmp_path / "two", tmp_path / "as killed")
    for processes in (2, 1, 3):
        shutil.rmtree(tmp_path / "two")
        shutil.copytree(tmp_path / "as killed", tmp_path / "two")
        again = launch(command, processes)
        shown = again.communicate(timeout=PATIENCE_S)[0]
        assert again.returncode == 0 and "resumed at step" in shown, f"{processes} processes\n{shown}"
        assert_same(tmp_path / "two", tmp_path / "one")
        for mine, theirs in zip(losses(tmp_path / "two"), losses(tmp_path / "one"), strict=True):
            assert mine == pytest.approx(theirs, abs=1e-5)


@pytest.mark.torch
@pytest.mark.parametrize("dry", [True, False])
def test_lost_text_is_said_before_the_error_above_the_share(
    dry: bool, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--dry-run"] if dry else ["--runs-dir", str(tmp_path / "runs"), "--quiet"]
    assert main(["train", str(recipe), "train.max_prompt_length=200", "train.max_length=210", *where]) == 2
    printed = capsys.readouterr()
    lines = printed.err.splitlines()
    assert "text lost: 24 of 24 rows: the prompt is cut to max_prompt_length" in lines
    error = next(at for at, line in enumerate(lines) if line.startswith("error:"))
    assert "more than max_loss_share" in lines[error]
    assert all(at < error for at, line in enumerate(lines) if line.startswith("text lost:"))
    if dry:
        assert printed.out.startswith("read") and "condition" in printed.out
