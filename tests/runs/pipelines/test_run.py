"""`run`: skipped, resumed after kills, repeated where something changed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import fsspec
import polars as pl
import pytest
from waiting import PATIENCE_S

from prefboost.errors import ModelError, RunError
from prefboost.recipes.documents import apply_overrides, parse
from prefboost.recipes.kinds import AnyRecipe
from prefboost.recipes.load import of_kind
from prefboost.recipes.recipe import Recipe
from prefboost.runs.folder import manifest as manifest_module
from prefboost.runs.folder.manifest import MANIFEST, Run, hash_path
from prefboost.runs.folder.schedule import StageOutcome
from prefboost.runs.pipelines import run as recipe_run
from prefboost.training.claim import hold_folder

EXAMPLE = Path(__file__).parents[3] / "examples" / "scored.jsonl"


def made(text: str, *overrides: str) -> AnyRecipe:
    return of_kind(apply_overrides(parse(text), overrides))


def offline(model: Path, *overrides: str) -> AnyRecipe:
    return made(
        f"name: mine\ndata: {json.dumps(str(EXAMPLE))}\ntrain: {{model: {json.dumps(str(model))}, precision: fp32, "
        "batch_size: 8, max_steps: 2, max_length: 900, max_prompt_length: 600}\n",
        *overrides,
    )


@pytest.mark.parametrize("place", ["memory://of-recipes/scored.jsonl", "{}/*.jsonl"])
def test_data_that_change_at_an_address_or_behind_a_pattern_repeat_the_stage(place: str, tmp_path: Path) -> None:
    file = place.format(tmp_path).replace("*", "scored")
    seen = set()
    for rows in (36, 35):
        with fsspec.open(file, "w") as stream:
            stream.writelines(EXAMPLE.read_text().splitlines(keepends=True)[:rows])
        recipe = offline(tmp_path / "no-model", f"data={json.dumps(place.format(tmp_path))}")
        first, *_ = recipe_run.plan_run(recipe, tmp_path / "runs")
        seen.add(first.key)
        assert first.depends["inputs"].keys() == {place.format(tmp_path)}
    assert len(seen) == 2


@pytest.mark.torch
def test_a_recipe_with_data_is_run_skipped_and_repeated_where_it_changed(tiny_model: Path, tmp_path: Path) -> None:
    first = recipe_run.run(offline(tiny_model), tmp_path)
    assert [(each.stage, each.why) for each in first.stages] == [("pairs", "not done yet"), ("train", "not done yet")]
    assert first.model == str(tmp_path / "mine" / "model")
    again = recipe_run.run(offline(tiny_model), tmp_path)
    assert [each.why for each in again.stages] == [None, None]
    changed = recipe_run.run(offline(tiny_model, "train.learning_rate=1e-5"), tmp_path)
    assert [each.why for each in changed.stages] == [None, "train.learning_rate was 5e-07, is 1e-05"]
    manifest = json.loads((tmp_path / "mine" / MANIFEST).read_text())
    assert manifest["settings"]["train"]["learning_rate"] == 1e-5
    assert manifest["revisions"][0]["changed"] == ["train.learning_rate was 5e-07, is 1e-05"]
    assert {"git", "versions", "inputs", "command"} <= manifest.keys()


def test_an_input_is_hashed_once_for_stages_and_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []

    def count(path: str | Path) -> str:
        hashed.append(str(path))
        return hash_path(path)

    monkeypatch.setattr(manifest_module, "hash_path", count)
    with pytest.raises(ModelError):  # the tokenizer is asked for after the folder is claimed
        recipe_run.run(offline(tmp_path / "no-model"), tmp_path)
    manifest = json.loads((tmp_path / "mine" / MANIFEST).read_text())
    assert hashed == [str(EXAMPLE)] and manifest["inputs"] == {str(EXAMPLE): hash_path(EXAMPLE)}


@pytest.mark.torch
def test_train_and_run_of_an_offline_recipe_are_the_same_stages(tiny_model: Path, tmp_path: Path) -> None:
    wanted = offline(tiny_model)
    assert isinstance(wanted, Recipe)
    recipe_run.run_recipe(wanted, tmp_path / "mine")
    assert all(each.why is None for each in recipe_run.run(wanted, tmp_path).stages)


@pytest.mark.torch
def test_a_folder_that_train_of_an_earlier_version_began_is_taken_up_at_its_checkpoint(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefboost.training.engine.callbacks import JsonLog

    wanted = offline(tiny_model, "train.save_every=1", "train.max_steps=4")
    assert isinstance(wanted, Recipe)
    write = JsonLog.on_log

    def stop(self: Any, args: Any, state: Any, *more: Any, **named: Any) -> None:
        if state.global_step == 3:
            raise InterruptedError
        write(self, args, state, *more, **named)

    with monkeypatch.context() as patched, pytest.raises(InterruptedError):
        patched.setattr(JsonLog, "on_log", stop)
        recipe_run.run_recipe(wanted, tmp_path)
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    claim = manifest.pop("training")
    claim["say"] |= {"place": "auto", "decimals": None}
    notes = manifest["stages"]["pairs"]["notes"]
    manifest["stages"]["pairs"]["notes"] = {name: notes[name] for name in ("goal_pairs", "steps", "rejected", "scales")}
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    (tmp_path / "begun.json").write_text(json.dumps(claim))
    outcomes: list[StageOutcome] = []
    report = recipe_run.run_recipe(wanted, tmp_path, tell=outcomes.append)
    assert [each.why for each in outcomes] == [None, "begun and not finished"]
    assert (report.resumed_from, report.steps) == (2, 4)
    facts = json.loads((Path(report.model) / "prefboost.json").read_text())
    assert (facts["place"], facts["data"]["day"]) == ("system", claim["day"])


def test_a_plan_writes_nothing(tiny_model: Path, tmp_path: Path) -> None:
    assert [each.why for each in recipe_run.plan_run(offline(tiny_model), tmp_path)] == ["not done yet"] * 2
    assert list(tmp_path.iterdir()) == []


def test_changed_data_repeat_everything_and_are_named(tiny_model: Path, tmp_path: Path) -> None:
    data = tmp_path / "scored.jsonl"
    shutil.copy(EXAMPLE, data)
    recipe = offline(tiny_model, f"data={data}")
    recipe_run.run(recipe, tmp_path, until="pairs")
    data.write_text("".join(data.read_text().splitlines(keepends=True)[:18]))
    whys = [each.why for each in recipe_run.plan_run(recipe, tmp_path)]
    assert whys[0] is not None and whys[0].startswith(f"{data} was ")


def test_two_processes_do_not_share_a_run_folder(tiny_model: Path, tmp_path: Path) -> None:
    with hold_folder(tmp_path / "mine"):
        with pytest.raises(RunError, match="another process"):
            recipe_run.run(offline(tiny_model), tmp_path)
        assert not (tmp_path / "mine" / MANIFEST).exists()
    recipe_run.run(offline(tiny_model), tmp_path, until="pairs")


def test_a_folder_with_other_files_is_left_alone(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match="not empty"):
        recipe_run.run(offline(tiny_model), tmp_path)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_a_run_of_another_name_is_not_overwritten(tiny_model: Path, tmp_path: Path) -> None:
    recipe_run.run(offline(tiny_model), tmp_path, until="pairs")
    (tmp_path / "mine").rename(tmp_path / "other")
    with pytest.raises(RunError, match="a run called 'mine', not 'other'"):
        recipe_run.run(offline(tiny_model, "name=other"), tmp_path)


KILLED = """
import os, random, signal, sys
from pathlib import Path
import dying
import torch, transformers, trl, polars
import prefboost.training.policy.trainer, prefboost.engines.local.engine, prefboost.training.policy.prepare
from prefboost.recipes.documents import parse
from prefboost.recipes.load import of_kind
from prefboost.runs.pipelines.run import run

recipe, runs, kills = of_kind(parse(Path(sys.argv[1]).read_text())), sys.argv[2], 0
draw = random.Random(7)
for attempt in range(40):
    child = os.fork()
    if child == 0:
        dying.die_at_call(int(draw.uniform(1_000, 3_000) * 1.5**attempt))
        try:
            run(recipe, runs)
        finally:
            os._exit(int(sys.exc_info()[0] is not None))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    kills += code == -signal.SIGKILL
    if code != -signal.SIGKILL:
        print(kills, code)
        break
"""
"""Runs a recipe in a child that dies at a random call of a function, later at each attempt, until one ends well."""


@pytest.mark.torch
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_two_rounds_killed_at_random_points_equal_undisturbed_ones(
    on_policy_text: str, finished_rounds: Path, tmp_path: Path
) -> None:
    (tmp_path / "recipe.yaml").write_text(on_policy_text)
    (tmp_path / "killed.py").write_text(KILLED)
    root = Path(__file__).parents[3]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(str(each) for each in (root / "src", root, root / "tests" / "made")),
        "OMP_NUM_THREADS": "1",
        "PREFBOOST_CACHE": str(tmp_path / "cache"),
    }
    command = [sys.executable, str(tmp_path / "killed.py"), str(tmp_path / "recipe.yaml"), str(tmp_path / "runs")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    kills, code = map(int, done.stdout.split())
    assert code == 0, done.stderr[-2000:]
    assert kills >= 3, "too few kills to show anything"
    ours, theirs = tmp_path / "runs" / "tiny", finished_rounds / "tiny"
    assert results(ours) == results(theirs)


def results(run: Path) -> dict[str, Any]:
    """Everything that rounds come to, without the paths of the models."""
    from safetensors.numpy import load_file

    found: dict[str, Any] = {}
    for number in (1, 2):
        folder = run / f"round-{number}"
        for name in ("completions", "scored", "pairs", "held_out"):
            frame = pl.read_parquet(folder / f"{name}.parquet")
            found[f"{number}/{name}"] = frame.drop("model", strict=False).to_dicts()
        found[f"{number}/evaluation"] = json.loads((folder / "evaluation.json").read_text())
        weights = load_file(folder / "model" / "model.safetensors")
        found[f"{number}/weights"] = {name: value.tobytes() for name, value in weights.items()}
        notes = Run(run).notes(f"round {number}/generate")
        found[f"{number}/counts"] = notes
    return found


@pytest.mark.torch
def test_a_killed_process_is_not_mistaken_for_one_at_work(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom prefboost.training.claim import hold_folder\n"
        "with hold_folder(Path(sys.argv[1])):\n    os.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3] / "src")}
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=environment, check=False, timeout=PATIENCE_S)
    assert done.returncode == -signal.SIGKILL
    with hold_folder(tmp_path):
        pass
