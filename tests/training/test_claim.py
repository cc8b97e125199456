"""A run folder belongs to one run."""

from __future__ import annotations

import errno
import json
import os
from contextlib import nullcontext
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.training.conftest import GOALS
from tests.training.policy.test_train import settings_of

from prefboost.errors import PrefboostError, RunError
from prefboost.training.claim import (
    BEGUN,
    LOG,
    MANIFEST,
    MODEL,
    REPORT,
    TRAINING,
    begin,
    check_installed,
    hold_folder,
    is_main_process,
    last_metrics,
    read_claim,
    read_first_day,
)


def test_a_folder_is_claimed_once_and_refuses_another_run(tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert begin(out, {"train": {"seed": 1}, "data": "a"}) is None
    assert begin(out, {"train": {"seed": 1}, "data": "a"}) is None
    with pytest.raises(RunError, match=r"other train \(seed: 1 -> 2\)"):
        begin(out, {"train": {"seed": 2}, "data": "a"})
    with pytest.raises(RunError, match="other data"):
        begin(out, {"train": {"seed": 1}, "data": "b"})


def test_a_run_keeps_the_day_on_which_it_began(tmp_path: Path) -> None:
    identity = {"train": {"seed": 1}, "data": "a"}
    assert read_first_day(tmp_path) is None
    begin(tmp_path, identity)
    assert read_first_day(tmp_path) == date.today().isoformat()
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    manifest[TRAINING]["day"] = "2001-02-03"
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    assert begin(tmp_path, identity) is None and read_first_day(tmp_path) == "2001-02-03"


def test_a_folder_that_an_earlier_version_began_is_taken_up_and_belongs_to_its_run(tmp_path: Path) -> None:
    identity = {"train": {"seed": 1}, "data": "a", "say": {"place": "system", "low": 1.0}}
    earlier = {**identity, "say": {"place": "auto", "low": 1.0}, "day": "2001-02-03"}
    (tmp_path / BEGUN).write_text(json.dumps(earlier))
    (tmp_path / MODEL).mkdir()
    assert begin(tmp_path, identity) is None and read_first_day(tmp_path) == "2001-02-03"
    assert read_claim(tmp_path) == {**identity, "day": "2001-02-03"}
    with pytest.raises(RunError, match="other say"):
        begin(tmp_path, {**identity, "say": {"place": "system", "low": 0.0}})


def test_a_folder_that_an_earlier_version_began_with_other_data_is_refused(tmp_path: Path) -> None:
    (tmp_path / BEGUN).write_text(json.dumps({"train": {"seed": 1}, "data": "a", "day": "2001-02-03"}))
    with pytest.raises(RunError, match="other data"):
        begin(tmp_path, {"train": {"seed": 1}, "data": "b"})


def test_a_claim_leaves_the_other_lines_of_a_manifest_and_later_processes_write_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / MANIFEST).write_text(json.dumps({"name": "x", "stages": {"pairs": {}}}))
    with monkeypatch.context() as patched:
        patched.setenv("RANK", "1")
        assert begin(tmp_path, {"train": {}, "data": "a"}) is None and read_claim(tmp_path) == {}
    begin(tmp_path, {"train": {}, "data": "a"})
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    assert (manifest["name"], manifest["stages"], manifest[TRAINING]["data"]) == ("x", {"pairs": {}}, "a")


def test_a_finished_run_gives_its_report_back(tmp_path: Path) -> None:
    identity = {"train": {}, "data": "a"}
    begin(tmp_path, identity)
    (tmp_path / REPORT).write_text(json.dumps({"steps": 3}))
    assert begin(tmp_path, identity) is None
    (tmp_path / MODEL).mkdir()
    assert begin(tmp_path, identity) == {"steps": 3}


def test_the_last_number_of_every_metric_is_kept(tmp_path: Path) -> None:
    lines = [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}, {"step": 2, "eval_loss": 1.5}]
    (tmp_path / LOG).write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert last_metrics(tmp_path) == {"loss": 1.0, "eval_loss": 1.5}


def test_what_training_needs_is_installed_here() -> None:
    check_installed("trl")


REQUIREMENTS = [
    "polars>=99",
    'prefboost[hub]; extra == "train"',
    'transformers<6,>=5.20; extra == "train"',
    'trl>=1.16; extra == "trl"',
]


@pytest.mark.parametrize(
    ("transformers", "trl", "extras", "sentence"),
    [
        ("5.16.1", "1.16.0", (), r"transformers 5.16.1 is installed, and training supports <6,>=5.20"),
        ("6.0.0", "1.16.0", (), r"transformers 6.0.0 is installed"),
        ("5.20.0", "1.15.0", ("trl",), r"(?s)trl 1.15.0 is installed, .*prefboost\[trl\]"),
        ("5.20.0", None, ("trl",), r"(?s)trl is not installed.*prefboost\[trl\]"),
        ("5.24.0.dev0", None, (), None),
        ("5.20.0", "1.16.0", ("trl",), None),
    ],
)
def test_versions_that_are_not_supported_are_refused_by_name(
    transformers: str,
    trl: str | None,
    extras: tuple[str, ...],
    sentence: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    versions = {"transformers": transformers, "trl": trl, "polars": "1.0"}

    def version(name: str) -> str:
        found = versions[name]
        if found is None:
            raise metadata.PackageNotFoundError(name)
        return found

    monkeypatch.setattr("prefboost.training.claim.metadata.requires", lambda name: REQUIREMENTS)
    monkeypatch.setattr("prefboost.training.claim.metadata.version", version)
    check_installed.cache_clear()
    with nullcontext() if sentence is None else pytest.raises(PrefboostError, match=sentence):
        check_installed(*extras)
    check_installed.cache_clear()


def test_a_folder_is_held_by_one_process_that_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with hold_folder(folder):
        said = rf"another process is using .*process {os.getpid()} on "
        with pytest.raises(RunError, match=said), hold_folder(folder):
            raise AssertionError("two held it")
        with hold_folder(folder, ".other"):
            pass
    with hold_folder(folder):
        pass


def test_a_folder_that_cannot_be_made_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot write to the run folder"), hold_folder(tmp_path / "file" / "run"):
        raise AssertionError("it was held")


def test_a_full_disk_does_not_keep_a_folder_from_being_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(stream: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", write)
    with hold_folder(tmp_path):
        monkeypatch.undo()
        with pytest.raises(RunError, match="run folder\n"), hold_folder(tmp_path):
            raise AssertionError("two held it")


def test_a_fault_of_the_work_itself_is_not_taken_for_one_of_the_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="weights"), hold_folder(tmp_path):
        raise FileNotFoundError("weights")


def test_the_first_of_several_processes_leads() -> None:
    assert (
        is_main_process({})
        and is_main_process({"RANK": "0"})
        and is_main_process({"RANK": ""})
        and not is_main_process({"RANK": "1"})
    )


@pytest.mark.parametrize("what", ["policy", "reward"])
def test_a_second_training_in_the_same_folder_is_refused_and_does_no_harm(
    what: str, tiny: Path, pairs: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefboost.training import train
    from prefboost.training.claim import read_log
    from prefboost.training.engine.callbacks import JsonLog
    from prefboost.training.reward.settings import TrainReward
    from prefboost.training.reward.train import train_reward

    def work() -> Any:
        if what == "policy":
            return train(pairs, settings_of(tiny, max_steps=3), tmp_path, goals=GOALS)
        return train_reward(pairs, TrainReward(model=str(tiny), precision="fp32", max_steps=3), tmp_path)

    refused: list[str] = []
    write = JsonLog.on_log

    def on_log(self: Any, *args: Any, **kwargs: Any) -> None:
        with pytest.raises(RunError) as caught:
            work()
        refused.append(str(caught.value))
        write(self, *args, **kwargs)

    monkeypatch.setattr(JsonLog, "on_log", on_log)
    assert work().steps == 3
    assert refused and all("another process is using this run folder" in each for each in refused)
    assert [line["step"] for line in read_log(tmp_path / LOG) if "loss" in line] == [1, 2, 3]


@pytest.mark.parametrize("kind", ["folder", "broken link"])
def test_a_model_that_no_training_of_the_folder_wrote_is_never_replaced(tmp_path: Path, kind: str) -> None:
    model = tmp_path / "model"
    model.mkdir() if kind == "folder" else model.symlink_to(tmp_path / "nowhere")
    with pytest.raises(RunError, match="no training in this folder wrote it"):
        begin(tmp_path, {"train": {}, "data": "a"})
    assert read_claim(tmp_path) == {}
