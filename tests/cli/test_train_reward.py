"""``prefboost train-reward`` and the scorer that its model is for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.training.conftest import build_folder

from prefboost.cli.main import main
from prefboost.cli.train_reward import read_train_reward
from prefboost.errors import SettingsError
from prefboost.preferences import BestVsWorst

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_folder(tmp_path_factory.mktemp("start"))


def test_settings_stand_alone_and_faults_are_named() -> None:
    settings = read_train_reward(["model=m", "pair=best_vs_worst", "loss.gap=margin", "lora.rank=4"])
    assert settings.pair == BestVsWorst() and settings.train.loss.needs_gap
    assert settings.train.lora is not None and settings.train.lora.rank == 4
    for overrides, said in (
        ([], "train.model is missing"),
        (["modl=m"], "modl is not a setting here; did you mean model"),
        (["model=m", "loss=dpo"], "'dpo' is not a kind here"),
    ):
        with pytest.raises(SettingsError, match=said):
            read_train_reward(overrides)


def test_a_reward_model_is_trained_and_scores(start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"prompt": f"question {n}", "chosen": f"yes {n % 5}", "rejected": f"no {n % 3}"} for n in range(24)]
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = [f"model={start}", "precision=fp32", "learning_rate=3e-3", "batch_size=8", "epochs=6", "eval_fraction=0.25"]
    out = tmp_path / "rm"
    assert main(["train-reward", str(file), *asked, "-o", str(out), "--quiet", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["pairs"] == 18 and report["metrics"]["eval_rewards/accuracies"] == 1.0
    scored = ["kind=reward_model", f"model={out / 'model'}", "-o", str(tmp_path / "s.parquet"), "--quiet", "--json"]
    assert main(["score", str(file), *scored]) == 0
    assert json.loads(capsys.readouterr().out)["chosen scores higher"] == 1.0


def test_scored_completions_are_paired_or_regressed(
    start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"prompt": f"q{n}", "completion": f"{'good' if score > 5 else 'bad'} {n + score}", "score": score}
        for n in range(6)
        for score in (9.0, 6.0, 2.0)
    ]
    file = tmp_path / "scored.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = [f"model={start}", "precision=fp32", "max_steps=1", "batch_size=8"]
    for loss, items in (("bradley_terry", 18), ("regression", 18)):
        out = tmp_path / loss
        assert main(["train-reward", str(file), *asked, f"loss={loss}", "-o", str(out), "--quiet"]) == 0
        shown = capsys.readouterr().out
        assert f"trained on {items} items in 1 steps" in shown and f"model={out / 'model'}" in shown


def test_a_recipe_mixes_real_and_synthetic_pairs(
    start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("real", "made"):
        rows = [{"prompt": f"{name} {n}", "chosen": f"yes {n % 5}", "rejected": f"no {n % 3}"} for n in range(12)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = tmp_path / "mix.yaml"
    recipe.write_text(
        f"mix:\n  size: 12\n  parts:\n    real: {{data: {tmp_path}/real.jsonl, share: 2}}\n"
        f"    made: {{data: {tmp_path}/made.jsonl, share: 1, weight: 0.5}}\n"
        f"train: {{model: {start}, precision: fp32, max_steps: 1}}\n"
    )
    out = tmp_path / "rm"
    assert main(["train-reward", str(recipe), "train.batch_size=4", "-o", str(out), "--quiet", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pairs"] == 12
    recipe.write_text(f"train: {{model: {start}}}\n")
    assert main(["train-reward", str(recipe), "-o", str(out), "--quiet"]) == 2
    assert "names no data" in capsys.readouterr().err


def test_a_dry_run_says_what_training_takes_and_makes_nothing(
    start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"prompt": f"question {n}", "chosen": f"yes {n % 5}", "rejected": f"no {n % 3}"} for n in range(12)]
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = [str(file), f"model={start}", "precision=fp32", "batch_size=4", "-o", str(tmp_path / "rm"), "--quiet"]
    assert main(["train-reward", *asked, "--dry-run", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["pairs"], said["steps"], said["engine"]) == (12, 3, "packed")
    assert said["seconds"]["training"] > 0 and said["memory"]["activations"] > 0
    assert said["tokens"]["packed"] < said["tokens"]["real"] <= said["tokens"]["padded"]
    assert not (tmp_path / "rm").exists()
    assert main(["train-reward", *asked, "--dry-run"]) == 0
    assert "12 pairs to train on: 12 units, 3 steps" in capsys.readouterr().out
