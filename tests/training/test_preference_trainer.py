"""Our trainer follows the trajectory of TRL's DPOTrainer where both can do the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import trl
from tests.training.conftest import SAY, build_model, build_pairs, build_tokenizer

from prefboost.training import Lora, Train, train
from prefboost.training.callbacks import read_log
from prefboost.training.units import UnitSampler

# Nothing is written behind the end of a turn, which TRL would train on and we would not.
TIGHT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
STEPS = 6


def trl_losses(folder: Path, pairs: pa.Table, out: Path, loss: str, adapters: bool) -> list[float]:
    """TRL's own trainer on the rows in the order in which our sampler takes them."""
    from datasets import Dataset
    from peft import LoraConfig, TaskType
    from transformers import AutoModelForCausalLM, AutoTokenizer

    units = pairs.num_rows // 2
    order = [index for epoch in range(3) for index in UnitSampler(units, 42, lambda epoch=epoch: epoch)]
    rows = pairs.to_pylist()
    keys = ("prompt", "chosen", "rejected")
    plain = [{key: [{k: m[k] for k in ("role", "content")} for m in row[key]] for key in keys} for row in rows]
    data = Dataset.from_list([plain[2 * unit + view] for unit in order for view in (0, 1)])

    class InOrder(trl.DPOTrainer):  # type: ignore[misc,name-defined]
        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            from torch.utils.data import SequentialSampler

            return SequentialSampler(self.train_dataset)

    args = trl.DPOConfig(
        output_dir=str(out),
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
        max_steps=STEPS,
        learning_rate=1e-3,
        lr_scheduler_type="cosine",
        loss_type=[loss],
        beta=0.1,
        bf16=False,
        use_cpu=True,
        gradient_checkpointing=False,
        logging_steps=1,
        report_to="none",
        save_strategy="no",
        max_length=None,
        disable_tqdm=True,
        precompute_ref_log_probs=False,
        weight_decay=0.0,
    )
    trainer = InOrder(
        model=AutoModelForCausalLM.from_pretrained(folder),
        args=args,
        train_dataset=data,
        processing_class=AutoTokenizer.from_pretrained(folder),
        peft_config=LoraConfig(task_type=TaskType.CAUSAL_LM, r=4, lora_alpha=8, target_modules="all-linear")
        if adapters
        else None,
    )
    trainer.train()
    return [line["loss"] for line in trainer.state.log_history if "loss" in line]


@pytest.mark.parametrize(
    ("kind", "theirs", "adapters"), [("dpo", "sigmoid", False), ("ipo", "ipo", False), ("dpo", "sigmoid", True)]
)
def test_the_trajectory_equals_that_of_trl(kind: str, theirs: str, adapters: bool, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    build_model().save_pretrained(folder)
    build_tokenizer(TIGHT).save_pretrained(folder)
    pairs = build_pairs(16)
    settings = Train(
        model=str(folder),
        loss={"kind": kind, "beta": 0.1},
        learning_rate=1e-3,
        batch_size=8,
        micro_batch=2,
        max_steps=STEPS,
        warmup_ratio=0.0,
        precision="fp32",
        lora=Lora(rank=4, alpha=8) if adapters else None,
    )
    train(pairs, settings, tmp_path / "ours", say=SAY)
    ours = [line["loss"] for line in read_log(tmp_path / "ours" / "train_log.jsonl") if "loss" in line]
    assert ours == pytest.approx(trl_losses(folder, pairs, tmp_path / "trl", theirs, adapters), abs=1e-5)
    assert max(ours) - min(ours) > 1e-3


@pytest.mark.parametrize("engine", ["packed", "trl"])
def test_all_views_of_a_pair_are_in_one_micro_batch(
    engine: str, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefboost.training.preference_trainer import PreferenceTrainer

    seen: list[list[str]] = []
    original = PreferenceTrainer.logps_of

    def watch(self: Any, model: Any, batch: dict[str, Any]) -> Any:
        seen.append(list(batch["unit_ids"]))
        return original(self, model, batch)

    monkeypatch.setattr(PreferenceTrainer, "logps_of", watch)
    pairs = build_pairs(7).take([13, 2, 5, 0, 1, 3, 4, 6, 7, 8, 9, 10, 11, 12])
    settings = Train(model=str(tiny), precision="fp32", batch_size=6, micro_batch=2, epochs=2, engine=engine)
    train(pairs, settings, tmp_path, say=SAY)
    assert all(batch.count(unit) == 2 for batch in seen for unit in batch)
    units = [unit for batch in seen for unit in dict.fromkeys(batch)]
    assert sorted(units[:7]) == sorted(units[7:]) == [f"p{i}" for i in range(7)]
    assert units[:7] != units[7:]


def test_shuffled_views_may_part(tiny: Path, tmp_path: Path) -> None:
    settings = Train(model=str(tiny), precision="fp32", batch_size=4, max_steps=1, order="shuffled")
    assert train(build_pairs(4), settings, tmp_path, say=SAY).units == 8


def test_whole_batch_losses_see_the_whole_batch(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from prefboost.training.preference_trainer import PreferenceTrainer

    sizes: list[int] = []
    original = PreferenceTrainer.loss_of_batch

    def watch(self: Any, model: Any, batch: dict[str, Any]) -> Any:
        sizes.append(len(batch["unit_ids"]))
        return original(self, model, batch)

    monkeypatch.setattr(PreferenceTrainer, "loss_of_batch", watch)
    settings = Train(model=str(tiny), precision="fp32", batch_size=8, max_steps=1, loss="aot", engine="trl")
    train(build_pairs(4), settings, tmp_path, say=SAY)
    assert sizes == [8]


def test_the_reference_is_computed_once_and_kept(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    from prefboost.training.reference_pass import ReferencePass

    calls: list[int] = []
    original = ReferencePass.compute

    def count(self: Any, prompts: Any, completions: Any) -> Any:
        calls.append(len(prompts))
        return original(self, prompts, completions)

    monkeypatch.setattr(ReferencePass, "compute", count)
    settings = Train(model=str(tiny), precision="fp32", batch_size=4, max_steps=1)
    train(build_pairs(4), settings, tmp_path, say=SAY)
    assert sum(calls) == 16
    shutil.rmtree(tmp_path / "model")
    train(build_pairs(4), settings, tmp_path, say=SAY)
    assert sum(calls) == 16
