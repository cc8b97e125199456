"""`train`, from goal pairs to a model folder; runs are tiny."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.training.conftest import GOALS, SAY, build_pairs
from waiting import PATIENCE_S

from prefboost.chat.rendering import ChatEncoder
from prefboost.errors import DataError, MissingScores, ModelError, RunError
from prefboost.losses import LOSSES
from prefboost.preferences import FittedScale
from prefboost.preferences.stated_goals import StatedGoals
from prefboost.training import Lora, Train, train
from prefboost.training.claim import read_log

GOLDEN = [0.6931, 0.6917, 0.7081, 0.5851, 0.6613, 0.6275]
"""Losses of the first six steps of `settings_of(tiny)` on `build_pairs(12)`: any change of the path moves them."""


def settings_of(folder: Path, **changes: Any) -> Train:
    small: dict[str, Any] = {
        "model": str(folder),
        "learning_rate": 1e-3,
        "batch_size": 8,
        "micro_batch": 2,
        "precision": "fp32",
        "max_steps": 6,
        "save_every": 100,
    }
    return Train(**(small | changes))


def losses(out: Path) -> list[float]:
    return [line["loss"] for line in read_log(out / "train_log.jsonl") if "loss" in line]


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def test_the_trajectory_of_a_tiny_model_is_the_golden_one(tiny: Path, pairs: pa.Table, tmp_path: Path) -> None:
    report = train(pairs, settings_of(tiny), tmp_path, goals=GOALS)
    assert losses(tmp_path) == pytest.approx(GOLDEN, abs=1e-4)
    assert (report.steps, report.units, report.pairs, report.resumed_from) == (6, 12, 24, 0)
    line = read_log(tmp_path / "train_log.jsonl")[-2]
    for name in ("accuracy/goal_high", "accuracy/goal_low", "logp_change/rejected_score>=5", "rewards/margins"):
        assert name in line


def test_a_finished_training_keeps_no_model(
    tiny: Path, pairs: pa.Table, tmp_path: Path, built_models: list[weakref.ref[Any]]
) -> None:
    # What the collector would find later on its own must be gone at once: the caller loads the next model.
    train(pairs, settings_of(tiny, max_steps=1, eval_fraction=0.2, reference=str(tiny)), tmp_path, goals=GOALS)
    assert built_models and [model() for model in built_models] == [None] * len(built_models)


def test_the_saved_model_loads_and_asks_for_the_top_score(tiny: Path, pairs: pa.Table, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    scale = FittedScale(kind="min_max", knots=(0, 1), values=(1, 10))
    report = train(pairs, settings_of(tiny, max_steps=1), tmp_path, goals=replace(GOALS, scales={"": scale}))
    tokenizer = AutoTokenizer.from_pretrained(report.model)
    prompt = [{"role": "user", "content": "hi"}]
    assert "system\nScore 10.<|im_end|>" in tokenizer.apply_chat_template(prompt, tokenize=False)
    assert "system\nScore 7.<|im_end|>" in tokenizer.apply_chat_template(prompt, tokenize=False, goal=7)
    assert "Score" not in tokenizer.apply_chat_template(prompt, tokenize=False, goal=False)
    AutoModelForCausalLM.from_pretrained(report.model)
    facts = json.loads((Path(report.model) / "prefboost.json").read_text())
    assert facts["scales"] == {"": scale.model_dump(mode="json")} and facts["place"] == "system" and facts["top"] == 10
    card = (Path(report.model) / "README.md").read_text()
    assert facts["data"]["fingerprint"] in card and '"learning_rate": 0.001' in card and "goal=False" in card


def test_the_engine_is_tried_on_the_device_that_trains(
    tiny: Path, pairs: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    seen: list[str] = []

    class Enough(Exception):
        pass

    def tried(model: Any) -> Any:
        seen.append(next(model.parameters()).device.type)
        raise Enough

    monkeypatch.setattr("prefboost.packing.probe_support", tried)
    monkeypatch.setattr(
        "prefboost.training.policy.model.choose_training_device", lambda environment: torch.device("meta")
    )
    with pytest.raises(Enough):
        train(pairs, settings_of(tiny), tmp_path / "one", goals=GOALS)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")  # the whole model may not fit there
    with pytest.raises(Enough):
        train(pairs, settings_of(tiny), tmp_path / "parted", goals=GOALS)
    assert seen == ["meta", "cpu"]


def test_a_model_trained_without_goals_keeps_its_template(tiny: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    report = train(build_pairs(4, goals=False), settings_of(tiny, max_steps=1), tmp_path, goals=GOALS)
    kept, own = (AutoTokenizer.from_pretrained(folder).chat_template for folder in (report.model, tiny))
    assert kept == own


def test_a_finished_run_is_not_run_again_and_another_run_is_refused(
    tiny: Path, pairs: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = train(pairs, settings_of(tiny, max_steps=1), tmp_path, goals=GOALS)
    with monkeypatch.context() as patched:
        patched.setattr("prefboost.training.policy.model.load_policy", None)  # to call it would fail
        assert train(pairs, settings_of(tiny, max_steps=1), tmp_path, goals=GOALS) == first
    with pytest.raises(RunError, match=r"learning_rate: 0\.001 -> 0\.1"):
        train(pairs, settings_of(tiny, max_steps=1, learning_rate=0.1), tmp_path, goals=GOALS)
    with pytest.raises(RunError, match="other data"):
        train(build_pairs(3), settings_of(tiny, max_steps=1), tmp_path, goals=GOALS)


@pytest.mark.parametrize("precision", ["bf16", "pure_bf16"])
def test_half_precision_starts_where_full_precision_starts(
    tiny: Path, pairs: pa.Table, tmp_path: Path, precision: str
) -> None:
    train(pairs, settings_of(tiny, max_steps=2, precision=precision), tmp_path, goals=GOALS)
    assert losses(tmp_path)[0] == pytest.approx(0.6931, abs=0.03)


def test_micro_batches_and_checkpointing_of_activations_change_memory_not_values(
    tiny: Path, pairs: pa.Table, tmp_path: Path
) -> None:
    for name, changes in {"two": {}, "four": {"micro_batch": 4}, "again": {"gradient_checkpointing": True}}.items():
        train(pairs, settings_of(tiny, max_steps=3, **changes), tmp_path / name, goals=GOALS)
    assert losses(tmp_path / "four") == pytest.approx(losses(tmp_path / "two"), abs=1e-5)
    assert losses(tmp_path / "again") == pytest.approx(losses(tmp_path / "two"), abs=1e-5)


def test_adapters_start_at_the_reference_and_are_saved_merged_and_alone(
    tiny: Path, pairs: pa.Table, tmp_path: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    settings = settings_of(tiny, max_steps=3, lora=Lora(rank=4), learning_rate=1e-2)
    report = train(pairs, settings, tmp_path, goals=GOALS)
    assert losses(tmp_path)[0] == pytest.approx(0.6931, abs=1e-4) and losses(tmp_path)[1] != losses(tmp_path)[0]
    merged = AutoModelForCausalLM.from_pretrained(report.model)
    alone = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny), Path(report.model) / "adapter")
    for name, weight in alone.merge_and_unload().state_dict().items():
        assert (weight - merged.state_dict()[name]).abs().max() < 1e-6


def test_evaluation_prompts_are_set_aside_and_evaluated(tiny: Path, pairs: pa.Table, tmp_path: Path) -> None:
    settings = settings_of(tiny, max_steps=3, eval_fraction=0.3, eval_every=2)
    report = train(pairs, settings, tmp_path, goals=GOALS)
    assert report.units < 12
    counts = json.loads((Path(report.model) / "prefboost.json").read_text())["data"]
    assert (counts["units"], counts["pairs"], counts["held_out"]) == (report.units, report.pairs, 24 - report.pairs)
    card = (Path(report.model) / "README.md").read_text()
    assert f"{report.pairs} trained on, {24 - report.pairs} held out to evaluate on." in card
    evaluated = [line["step"] for line in read_log(tmp_path / "train_log.jsonl") if "eval_loss" in line]
    assert evaluated == [2, 3]
    assert 0 <= report.metrics["eval_accuracy/goal_high"] <= 1


NEEDED: dict[str, dict[str, Any]] = {
    "margin_dpo": {"gap": "distance"},
    "sum": {"terms": [{"loss": "dpo"}, {"loss": "sft", "weight": 0.5}]},
}


@pytest.mark.parametrize("kind", sorted(LOSSES))
def test_every_loss_trains(kind: str, tiny: Path, pairs: pa.Table, tmp_path: Path) -> None:
    loss = {"kind": kind, **NEEDED.get(kind, {})}
    report = train(pairs, settings_of(tiny, max_steps=1, loss=loss), tmp_path, goals=GOALS)
    assert report.steps == 1


def test_without_a_reference_none_is_computed(tiny: Path, pairs: pa.Table, tmp_path: Path) -> None:
    train(pairs, settings_of(tiny, max_steps=1, loss="simpo", reference="none"), tmp_path, goals=GOALS)
    assert not Path(os.environ["PREFBOOST_CACHE"]).exists()


def test_another_model_can_be_the_reference(tiny: Path, pairs: pa.Table, tmp_path: Path) -> None:
    from tests.training.conftest import build_folder

    other = build_folder(tmp_path / "other", seed=1)
    train(pairs, settings_of(tiny, max_steps=1, reference=str(other)), tmp_path / "run", goals=GOALS)
    assert losses(tmp_path / "run")[0] != pytest.approx(0.6931, abs=0.01)


def test_faults_of_the_user_are_named(tiny: Path, pairs: pa.Table, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no folder"):
        train(pairs, settings_of(tmp_path / "absent"), tmp_path / "a", goals=GOALS)
    with pytest.raises(DataError, match="no pair to train on: of 0 rows"):
        train(pairs.slice(0, 0), settings_of(tiny), tmp_path / "b", goals=GOALS)
    with pytest.raises(DataError, match="needs a column 'chosen'"):
        train(pairs.drop_columns(["chosen"]), settings_of(tiny), tmp_path / "c", goals=GOALS)
    with pytest.raises(ModelError, match="not in the prompt of pair"):
        train(
            pairs,
            settings_of(tiny),
            tmp_path / "d",
            goals=StatedGoals(SAY.model_copy(update={"wording": "Aim {{ goal }}"})),
        )
    bare = pairs.set_column(
        pairs.column_names.index("score_chosen"), "score_chosen", pa.nulls(len(pairs), pa.float64())
    )
    with pytest.raises(MissingScores, match="'rpo' uses scores"):
        train(bare, settings_of(tiny, loss="rpo"), tmp_path / "e", goals=GOALS)


def test_a_loss_that_is_not_finite_stops_with_the_ids_of_its_pairs(tiny: Path, pairs: pa.Table, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"the loss is nan at step \d for the pair\(s\) p\d+"):
        train(pairs, settings_of(tiny, learning_rate=1e30), tmp_path, goals=GOALS)


KILLED = """
import sys
from pathlib import Path
import pyarrow.parquet as pq
from prefboost.training import Train, train
from tests.training.conftest import GOALS
import dying
if __name__ == "__main__":
    if len(sys.argv) > 4:
        dying.at_step(int(sys.argv[4]), dying.die)
    train(pq.read_table(sys.argv[1]), Train.model_validate_json(sys.argv[2]), Path(sys.argv[3]), goals=GOALS)
"""


def command(
    settings: Train, data: Path, out: Path, launcher: tuple[str, ...] = (), *, dies_at: int | None = None
) -> subprocess.Popen[bytes]:
    script = data.with_name("run_training.py")
    script.write_text(KILLED)
    root = Path(__file__).parents[3]
    path = os.pathsep.join(str(each) for each in (root / "src", root, root / "tests" / "made"))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    run = [*(launcher or (sys.executable,)), str(script), str(data), settings.model_dump_json(), str(out)]
    run += [] if dies_at is None else [str(dies_at)]
    return subprocess.Popen(run, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def test_a_killed_run_goes_on_at_its_last_checkpoint_to_the_same_weights(
    tiny: Path, pairs: pa.Table, tmp_path: Path
) -> None:
    data = tmp_path / "pairs.parquet"
    pq.write_table(pairs, data)
    settings = settings_of(tiny, max_steps=60, save_every=10)
    process = command(settings, data, tmp_path / "killed", dies_at=27)
    checkpoints = tmp_path / "killed" / "checkpoints"
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == -signal.SIGKILL, errors.decode()[-2000:]
    (checkpoints / "checkpoint-59").mkdir()  # half written: must be ignored
    reached = max(int(each.parent.name.split("-")[1]) for each in checkpoints.glob("*/complete.json"))
    report = train(pairs, settings, tmp_path / "killed", goals=GOALS)
    assert 20 <= reached == report.resumed_from < 27
    train(pairs, settings, tmp_path / "whole", goals=GOALS)
    one, other = weights(tmp_path / "killed" / "model"), weights(tmp_path / "whole" / "model")
    assert all((one[name] == other[name]).all() for name in other)
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    assert not checkpoints.exists()


def test_a_run_shorter_than_save_every_is_resumed_too(
    tiny: Path, pairs: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefboost.training.engine.callbacks import JsonLog

    settings = settings_of(tiny, save_minutes=0)
    with monkeypatch.context() as patched:

        def on_log(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 5:
                raise KeyboardInterrupt

        patched.setattr(JsonLog, "on_log", on_log)
        with pytest.raises(KeyboardInterrupt):
            train(pairs, settings, tmp_path / "cut", goals=GOALS)
    report = train(pairs, settings, tmp_path / "cut", goals=GOALS)
    assert 1 <= report.resumed_from < 5
    train(pairs, settings, tmp_path / "whole", goals=GOALS)
    one, other = weights(tmp_path / "cut" / "model"), weights(tmp_path / "whole" / "model")
    assert all((one[name] == other[name]).all() for name in other)


def test_two_processes_train_as_one_does(tiny: Path, tmp_path: Path) -> None:
    # The loss is one of the whole batch; tests/cli/test_train.py launches one of single pairs.
    # 14 units of 7 prompts: whole steps of 4 units, and 6 units to evaluate, four at once on two devices.
    data, pairs = tmp_path / "pairs.parquet", build_pairs(14)
    pq.write_table(pairs, data)
    settings = settings_of(tiny, max_steps=3, loss="kto_pair", token_budget=150, eval_fraction=0.43)
    launcher = (sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=0")
    process = command(
        settings, data, tmp_path / "two", (*launcher, "--rdzv_backend=c10d", "--rdzv_endpoint=localhost:0")
    )
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, errors.decode()[-2000:]
    alone = train(pairs, settings, tmp_path / "one", goals=GOALS).metrics
    # One process takes the first units again to fill up the last round; they count once.
    both = json.loads((tmp_path / "two" / "train_report.json").read_text())["metrics"]
    evaluated = [name for name in alone if name.startswith(("eval_rewards/", "eval_logps/", "eval_loss"))]
    assert len(evaluated) == 7
    assert [both[name] for name in evaluated] == pytest.approx([alone[name] for name in evaluated], abs=1e-4)
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=1e-5)
    both, alone = (read_log(tmp_path / name / "train_log.jsonl")[0] for name in ("two", "one"))
    assert both["rewards/margins"] == pytest.approx(alone["rewards/margins"], abs=1e-5)
    # The third step: at the first one nothing has changed yet.
    both, alone = (read_log(tmp_path / name / "train_log.jsonl")[2] for name in ("two", "one"))
    watched = [name for name in alone if name.startswith("displacement/")]
    assert len(watched) == 4 and alone["displacement/distance_token_mean"] > 1e-3
    assert [both[name] for name in watched] == pytest.approx([alone[name] for name in watched], abs=1e-4)


def test_a_run_resumed_on_another_day_sees_the_tokens_it_began_with(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.training.conftest import CHATML

    from prefboost.training.claim import MANIFEST, TRAINING
    from prefboost.training.policy.trainer import PreferenceTrainer

    prompts: list[str] = []

    def stop(self: Any, policy: Any, data: Any, *args: Any, **kwargs: Any) -> None:
        prompts.append(policy.tokenizer.decode(data.train[0]["prompt_ids"][0]))
        raise KeyboardInterrupt

    settings = settings_of(tiny, chat_template="{{ strftime_now('%Y-%m-%d') }}" + CHATML)
    monkeypatch.setattr(PreferenceTrainer, "__init__", stop)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            train(build_pairs(2), settings, tmp_path, goals=GOALS)
        manifest = json.loads((tmp_path / MANIFEST).read_text())
        manifest[TRAINING]["day"] = "2001-02-03"
        (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    assert not prompts[0].startswith("2001-02-03") and prompts[1].startswith("2001-02-03")


def test_a_template_that_ends_no_turn_is_an_error_unless_it_is_allowed(tiny: Path, tmp_path: Path) -> None:
    from tests.training.conftest import CHATML

    endless = {"chat_template": CHATML.replace("<|im_end|>\n", "\n"), "max_steps": 1}
    with pytest.raises(DataError, match="no token that ends a completion"):
        train(build_pairs(2), settings_of(tiny, **endless), tmp_path / "refused", goals=GOALS)
    report = train(build_pairs(2), settings_of(tiny, **endless, max_loss_share=1.0), tmp_path / "run", goals=GOALS)
    [sentence] = report.losses
    assert sentence.startswith("4 of 4 rows: the chat template writes no token")
    assert sentence in (tmp_path / "run" / "model" / "README.md").read_text()


def test_rows_that_the_template_refuses_are_set_aside_in_the_run_folder(tiny: Path, tmp_path: Path) -> None:
    from tests.training.conftest import CHATML

    from prefboost.training.data.text_loss import REJECTED_FILE

    refusing = "{% if 'cat' in messages[-1]['content'] %}{{ raise_exception('no cats') }}{% endif %}" + CHATML
    pairs = build_pairs(12)
    settings = settings_of(tiny, chat_template=refusing, max_steps=1, max_loss_share=1.0)
    report = train(pairs, settings, tmp_path, goals=GOALS)
    rejected = pq.read_table(tmp_path / REJECTED_FILE).to_pylist()
    assert 0 < report.dropped["the chat template refuses the conversation"] == 24 - report.pairs
    assert rejected and all("no cats" in row["found"] for row in rejected)


@pytest.mark.parametrize("goals", [True, False])
def test_the_saved_template_merges_system_messages_as_training_did(goals: bool, tiny: Path, tmp_path: Path) -> None:
    from tests.training.conftest import CHATML
    from transformers import AutoTokenizer

    from prefboost.training.policy.model import load_policy_tokenizer

    refusing = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}" + CHATML
    settings = settings_of(tiny, chat_template=refusing, max_steps=1, system_messages="merge")
    pairs = build_pairs(4, goals=goals)
    system = {"role": "system", "content": "Be brief.", "extra": None}
    if not goals:
        rows = [{**row, "prompt": [system, *row["prompt"]]} for row in pairs.to_pylist()]
        pairs = pa.Table.from_pylist(rows, schema=pairs.schema)
    train(pairs, settings, tmp_path, goals=GOALS)
    saved = AutoTokenizer.from_pretrained(tmp_path / "model")
    ours = ChatEncoder(load_policy_tokenizer(settings), merge_system=True)
    for row in pairs.to_pylist():
        seen = ours.render_prompt(ours.renderable_prompt(row["prompt"], row["chosen"]))
        question = [message for message in row["prompt"] if not goals or message["role"] == "user"]
        messages = [{"role": message["role"], "content": message["content"]} for message in question]
        asked = {"goal": row["goal"]} if goals else {}
        assert saved.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **asked) == seen
