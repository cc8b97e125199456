"""Our trainer of reward models follows TRL's RewardTrainer, and its packed forward is the padded one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from tests.training.conftest import build_model, build_pairs, build_tokenizer
from tiny_models import KeepDouble

from prefboost.chat.rendering import ChatEncoder
from prefboost.engines.models.reward_model import enable_packed_rewards, load_reward_model, rewards_of
from prefboost.training.data.units import UnitSampler
from prefboost.training.engine.callbacks import read_log
from prefboost.training.reward.settings import TrainReward
from prefboost.training.reward.train import train_reward
from prefboost.training.reward.trainer import RewardCollator
from prefboost.training.reward.units import LossNeeds, build_reward_units

STEPS = 12


def preference_pairs(count: int) -> pa.Table:
    """Pairs without goals, scored; two of each prompt, which share a completion."""
    rows = [row for row in build_pairs(count).to_pylist() if row["view"] == "chosen"]
    for first, second in zip(rows[::2], rows[1::2], strict=True):
        second["prompt"], second["rejected"] = first["prompt"], first["rejected"]
        second["score_rejected"] = first["score_rejected"]
    return pa.Table.from_pylist(rows)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reward model with a head of its own, so that both trainers begin alike."""
    folder = tmp_path_factory.mktemp("start")
    build_model().save_pretrained(folder / "base")
    build_tokenizer().save_pretrained(folder / "base")
    torch.manual_seed(1)
    found = load_reward_model(str(folder / "base"), "float32", heads=["overall"])
    found.model.save_pretrained(folder / "rm")
    found.tokenizer.save_pretrained(folder / "rm")
    return folder / "rm"


def trl_losses(folder: Path, pairs: pa.Table, out: Path, *, margin: bool, center: float | None) -> list[float]:
    """TRL's own trainer on the rows in the order in which our sampler takes them."""
    import trl
    from datasets import Dataset
    from torch.utils.data import SequentialSampler

    rows = pairs.to_pylist()
    order = [at for epoch in range(20) for at in UnitSampler(len(rows), 42, lambda epoch=epoch: epoch)]
    keys = ("prompt", "chosen", "rejected")
    plain = [{key: [{k: m[k] for k in ("role", "content")} for m in row[key]] for key in keys} for row in rows]
    if margin:
        for row, source in zip(plain, rows, strict=True):
            row["margin"] = source["score_chosen"] - source["score_rejected"]

    class InOrder(trl.RewardTrainer):  # type: ignore[misc,name-defined]
        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            return SequentialSampler(self.train_dataset)

    args = trl.RewardConfig(
        output_dir=str(out),
        per_device_train_batch_size=4,
        max_steps=STEPS,
        learning_rate=1e-3,
        lr_scheduler_type="cosine",
        bf16=False,
        use_cpu=True,
        gradient_checkpointing=False,
        logging_steps=1,
        report_to="none",
        save_strategy="no",
        max_length=None,
        disable_tqdm=True,
        center_rewards_coefficient=center,
    )
    data = Dataset.from_list([plain[at] for at in order])
    trainer = InOrder(model=str(folder), args=args, train_dataset=data)
    trainer.train()
    return [line["loss"] for line in trainer.state.log_history if "loss" in line]


def settings_for(folder: Path, **changes: Any) -> TrainReward:
    usual: dict[str, Any] = {
        "model": str(folder),
        "learning_rate": 1e-3,
        "warmup_ratio": 0.0,
        "batch_size": 4,
        "micro_batch": 2,
        "max_steps": STEPS,
        "precision": "fp32",
        "unit": "pair",
    }
    return TrainReward(**(usual | changes))


def losses_in(folder: Path) -> list[float]:
    return [line["loss"] for line in read_log(folder / "train_log.jsonl") if "loss" in line]


@pytest.mark.parametrize(
    ("loss", "margin", "center"),
    [
        ("bradley_terry", False, None),
        ({"kind": "bradley_terry", "gap": "margin", "center_rewards_coefficient": 0.01}, True, 0.01),
    ],
)
def test_the_trajectory_equals_that_of_trl(
    loss: Any, margin: bool, center: float | None, start: Path, tmp_path: Path
) -> None:
    pairs = preference_pairs(16)
    train_reward(pairs, settings_for(start, loss=loss), tmp_path / "ours")
    ours = losses_in(tmp_path / "ours")
    assert len(ours) == STEPS
    assert ours == pytest.approx(trl_losses(start, pairs, tmp_path / "trl", margin=margin, center=center), abs=1e-5)
    assert max(ours) - min(ours) > 1e-2


def test_packed_rewards_and_gradients_are_those_of_the_padded_forward_in_float64(start: Path) -> None:
    gradients, rewards = [], []
    for packs in (True, False):
        found = load_reward_model(str(start), "float32")
        found.model.double()
        found = enable_packed_rewards(found) if packs else found
        assert found.packs is packs
        encoder = ChatEncoder(found.tokenizer)
        units = build_reward_units(preference_pairs(6), encoder, found.pad_id, LossNeeds()).units.to_pylist()
        batch = RewardCollator(found, compares=True)(units)
        given = {name: batch[name] for name in ("texts", "input_ids", "attention_mask") if name in batch}
        with KeepDouble():  # Llama's norms are written in float32
            found_rewards = rewards_of(found, given)
            (found_rewards[batch["chosen"]] - 0.3 * found_rewards[batch["rejected"]]).square().sum().backward()
        rewards.append(found_rewards.detach())
        gradients.append({name: weight.grad for name, weight in found.model.named_parameters()})
    assert rewards[0].dtype == torch.float64
    torch.testing.assert_close(rewards[0], rewards[1], atol=1e-9, rtol=1e-9)
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], atol=1e-9, rtol=1e-9, msg=name)


def test_micro_batches_packing_and_checkpointing_change_no_value(start: Path, tmp_path: Path) -> None:
    pairs = preference_pairs(16)
    ways: list[dict[str, Any]] = [
        {"micro_batch": 4},
        {"micro_batch": 1},
        {"packing": "off"},
        {"gradient_checkpointing": True},
    ]
    trajectories = []
    for number, way in enumerate(ways):
        train_reward(pairs, settings_for(start, unit="prompt", max_steps=4, **way), tmp_path / str(number))
        trajectories.append(losses_in(tmp_path / str(number)))
    for trajectory in trajectories[1:]:
        assert trajectory == pytest.approx(trajectories[0], abs=1e-5)


def test_what_is_saved_is_an_ordinary_reward_model(start: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

    report = train_reward(preference_pairs(8), settings_for(start, max_steps=2), tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(report.model)
    model = AutoModelForSequenceClassification.from_pretrained(report.model)
    assert model.config.num_labels == 1 and model.config.pad_token_id == tokenizer.pad_token_id
    talk = [{"role": "user", "content": "the cat"}, {"role": "assistant", "content": "runs"}]
    text = tokenizer.apply_chat_template(talk, tokenize=False)
    with torch.no_grad():
        theirs = model(**tokenizer([text, text + "more"], add_special_tokens=False, return_tensors="pt", padding=True))
    found = enable_packed_rewards(load_reward_model(report.model, "float32"))
    from prefboost.engines.models.reward_model import text_ids, text_tensors

    ids = text_ids(ChatEncoder(found.tokenizer), talk[:1], talk[1:], found.pad_id)
    ours = rewards_of(found, text_tensors(found, [ids])).item()
    assert ours == pytest.approx(theirs.logits[0].item(), abs=1e-6)
    judged = pipeline("text-classification", model=report.model)(text)  # the reward itself, nothing squashed
    assert judged[0]["score"] == pytest.approx(ours, abs=1e-5)
    assert (Path(report.model) / "README.md").read_text(encoding="utf-8").startswith("---\nlibrary_name: transformers")


def test_trl_s_trainer_takes_up_what_was_saved(start: Path, tmp_path: Path) -> None:
    pairs = preference_pairs(8)
    report = train_reward(pairs, settings_for(start, max_steps=2), tmp_path / "first")
    train_reward(pairs, settings_for(Path(report.model)), tmp_path / "ours")
    theirs = trl_losses(Path(report.model), pairs, tmp_path / "trl", margin=False, center=None)
    assert losses_in(tmp_path / "ours") == pytest.approx(theirs, abs=1e-5)


def test_adapters_are_trained_merged_and_saved(start: Path, tmp_path: Path) -> None:
    lora = {"rank": 2, "alpha": 8}
    settings = settings_for(start, lora=lora, max_steps=6, learning_rate=1e-2, gradient_checkpointing=True)
    report = train_reward(preference_pairs(8), settings, tmp_path)
    losses = losses_in(tmp_path)
    assert losses[-1] < losses[0]
    assert (Path(report.model) / "adapter" / "adapter_config.json").exists()
    assert load_reward_model(report.model, "float32").heads == ("overall",)


def test_a_batch_counts_pairs_and_texts_once_each(start: Path) -> None:
    found = enable_packed_rewards(load_reward_model(str(start), "float32"))
    encoder = ChatEncoder(found.tokenizer)
    made = build_reward_units(preference_pairs(4), encoder, found.pad_id, LossNeeds())
    batch = RewardCollator(found, compares=True)(made.units.to_pylist())
    assert batch["items"] == 4
    assert batch["labels"].shape == (6, 1) and batch["texts"].sequences == 6
    assert batch["chosen"].tolist() == [0, 2, 3, 5] and batch["rejected"].tolist() == [1, 1, 4, 4]


def test_the_token_budget_changes_memory_not_values_and_is_halved_when_memory_is_short(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefboost.training.reward.trainer import RewardTrainer

    basis = {"model": str(start), "precision": "fp32", "batch_size": 8, "learning_rate": 1e-3, "eval_fraction": 0.3}
    pairs, logs = preference_pairs(16), {}
    original = RewardTrainer.compute_losses

    def short(self: Any, model: Any, batch: Any) -> Any:
        found = original(self, model, batch)
        if model.training and len(batch["pair_names"]) > 2:
            raise MemoryError
        return found

    for name, budget in {"whole": 100_000, "parts": 60, "short": 4096}.items():
        if name == "short":
            monkeypatch.setattr(RewardTrainer, "compute_losses", short)
        report = train_reward(pairs, TrainReward(**basis, token_budget=budget), tmp_path / name)
        logs[name] = read_log(tmp_path / name / "train_log.jsonl")
        assert report.engine == "packed" and bool(report.messages) == (name == "short")
    for name in ("parts", "short"):
        for mine, theirs in zip(logs[name], logs["whole"], strict=True):
            for metric in ("loss", "eval_loss", "rewards/margins", "eval_rewards/margins", "grad_norm"):
                assert mine.get(metric, 0) == pytest.approx(theirs.get(metric, 0), abs=1e-5, rel=1e-4), (name, metric)
