"""`train_reward` from rows to a folder: learning, evaluation, aspects, resuming, faults."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.training.conftest import CHATML, build_folder, build_pairs
from tests.training.reward.test_trainer import losses_in, preference_pairs
from tests.training.reward.test_units import completion, pair
from waiting import PATIENCE_S

from prefboost.engines.models.reward_model import load_reward_model
from prefboost.errors import DataError, RunError
from prefboost.training.reward.settings import TrainReward
from prefboost.training.reward.train import train_reward


def settings_for(folder: Path, **changes: Any) -> TrainReward:
    usual: dict[str, Any] = {"model": str(folder), "learning_rate": 3e-3, "batch_size": 8, "precision": "fp32"}
    return TrainReward(**(usual | changes))


def planted(count: int) -> pa.Table:
    """The completion with the letter z wins."""
    rows = [pair(n, f"q{n}", f"{'abcd'[n % 4]}z{n % 7}", f"{'dcba'[n % 4]}y{n % 5}") for n in range(count)]
    return pa.Table.from_pylist(rows)


def test_a_planted_preference_is_learned_and_holds_on_prompts_not_seen(tiny: Path, tmp_path: Path) -> None:
    report = train_reward(planted(64), settings_for(tiny, epochs=6, eval_fraction=0.25), tmp_path)
    assert report.pairs == 48 and report.metrics["eval_rewards/accuracies"] == 1.0
    assert report.metrics["eval_loss"] < 0.3
    assert json.loads((tmp_path / "model" / "prefboost.json").read_text())["heads"] == ["overall"]


def test_a_finished_training_keeps_no_model(tiny: Path, tmp_path: Path, built_models: list[weakref.ref[Any]]) -> None:
    train_reward(planted(8), settings_for(tiny, max_steps=1), tmp_path)
    assert built_models and [model() for model in built_models] == [None] * len(built_models)


def test_heads_learn_their_own_aspects_and_the_checkpoint_names_them(tiny: Path, tmp_path: Path) -> None:
    rows = []
    for n in range(48):
        long, loud = n % 2 == 0, n % 3 == 0
        text = ("ab" * (6 if long else 2)) + ("!!" if loud else "..")
        rows.append(completion(n, f"q{n % 12}", text + str(n % 5), **{
            "score.length": float(long) if n % 4 else None, "score.volume": float(loud)}))  # fmt: skip
    loss = {"kind": "regression", "aspects": ["length", "volume"]}
    settings = settings_for(tiny, loss=loss, epochs=25, micro_batch=12, batch_size=16)
    report = train_reward(pa.Table.from_pylist(rows), settings, tmp_path)
    assert load_reward_model(report.model).heads == ("length", "volume")
    assert report.metrics["distance/length"] < 0.25 and report.metrics["distance/volume"] < 0.25


def test_a_finished_run_is_not_repeated_and_other_settings_are_refused(tiny: Path, tmp_path: Path) -> None:
    pairs = preference_pairs(8)
    first = train_reward(pairs, settings_for(tiny, max_steps=1), tmp_path)
    again = train_reward(pairs, settings_for(tiny, max_steps=1), tmp_path)
    assert (again.steps, again.seconds, again.metrics) == (first.steps, first.seconds, first.metrics)
    with pytest.raises(RunError, match="max_steps: 1 -> 2"):
        train_reward(pairs, settings_for(tiny, max_steps=2), tmp_path)


def test_no_usable_pair_is_an_error(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no pair to train on"):
        train_reward(planted(3), settings_for(tiny, max_length=2), tmp_path)


SCRIPT = """
import sys
from pathlib import Path
from tests.training.reward.test_train import planted, settings_for
from prefboost.training.reward.train import train_reward
import dying
if __name__ == "__main__":
    if DIES_AT:
        dying.at_step(DIES_AT, dying.die)
    train_reward(planted(24), settings_for(Path(sys.argv[1]), **RESUMED), Path(sys.argv[2]))
"""
RESUMED = {"epochs": 12, "save_every": 3, "batch_size": 4, "micro_batch": 2}


def started(
    folder: Path, out: Path, changes: dict[str, Any], *launcher: str, dies_at: int = 0
) -> subprocess.Popen[bytes]:
    """Start the same training in processes of its own, which die at the end of a step; 0: which live."""
    script = out.with_name("script.py")
    script.write_text(SCRIPT.replace("RESUMED", repr(changes)).replace("DIES_AT", str(dies_at)))
    root = Path(__file__).parents[3]
    places = [str(root / "src"), str(root), str(root / "tests" / "made"), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, *launcher, str(script), str(folder), str(out)], env=environment)


def test_a_killed_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    folder = build_folder(tmp_path / "tiny")
    whole = train_reward(planted(24), settings_for(folder, **RESUMED), tmp_path / "whole")
    out = tmp_path / "killed"
    assert started(folder, out, RESUMED, dies_at=8).wait(timeout=PATIENCE_S) == -signal.SIGKILL
    report = train_reward(planted(24), settings_for(folder, **RESUMED), out)
    assert report.resumed_from >= 6 and report.steps == whole.steps
    assert losses_in(out) == pytest.approx(losses_in(tmp_path / "whole"), abs=1e-6)


def test_two_processes_train_as_one_does(tmp_path: Path) -> None:
    folder = build_folder(tmp_path / "tiny")
    changes = {"max_steps": 2, "batch_size": 8, "micro_batch": 2, "eval_fraction": 0.25}
    launcher = ("-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=0", "--rdzv_backend=c10d",
                "--rdzv_endpoint=localhost:0")  # fmt: skip
    assert started(folder, tmp_path / "two", changes, *launcher).wait(timeout=PATIENCE_S) == 0
    alone = train_reward(planted(24), settings_for(folder, **changes), tmp_path / "one")
    assert losses_in(tmp_path / "two") == pytest.approx(losses_in(tmp_path / "one"), abs=1e-5)
    both = json.loads((tmp_path / "two" / "train_report.json").read_text())["metrics"]
    for name in ("eval_loss", "eval_rewards/margins", "rewards/mean"):  # 6 units to evaluate: one process has more
        assert both[name] == pytest.approx(alone.metrics[name], abs=1e-5)


def test_what_length_explains_is_fitted_and_not_learned(tiny: Path, tmp_path: Path) -> None:
    """Longer texts win three times of four; the letter z, in half of all pairs on either side, has no merit."""
    rows = []
    for n in range(96):
        long, short = f"{'abcd'[n % 4]}{'xy'[n % 2] * 9}", f"{'dcba'[n % 4]}{'yx'[n % 2]}"
        rows.append(pair(n, f"q{n}", *((short, long) if n % 4 == 0 else (long, short))))
    table = pa.Table.from_pylist(rows)
    accuracies = {}
    for offset in (0.0, "fit"):
        settings = settings_for(tiny, epochs=8, loss={"kind": "bradley_terry", "length_offset": offset})
        report = train_reward(table, settings, tmp_path / str(offset))
        accuracies[offset] = abs(report.metrics["rewards/margins"])
    assert report.metrics["length_offset"] > 0
    assert accuracies["fit"] < accuracies[0.0]


def test_a_saved_reward_model_merges_system_messages_as_training_did(tiny: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    refusing = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}" + CHATML
    settings = TrainReward(
        model=str(tiny), precision="fp32", chat_template=refusing, system_messages="merge", max_steps=1, batch_size=4
    )
    train_reward(build_pairs(4), settings, tmp_path)  # goals stand in system messages
    saved = AutoTokenizer.from_pretrained(tmp_path / "model")
    messages = [{"role": role, "content": role} for role in ("system", "user", "assistant")]
    assert "<|im_start|>user\nsystem\n\nuser<|im_end|>" in saved.apply_chat_template(messages, tokenize=False)
